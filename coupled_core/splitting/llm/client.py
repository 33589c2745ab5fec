"""The API's client: its key from the environment, its errors in our words, its retries off."""

import os
from typing import TYPE_CHECKING

from coupled_core.errors import ConfigError, LlmError
from coupled_core.redaction import redact
from coupled_core.splitting.llm.verdict import one_line

if TYPE_CHECKING:  # takes seconds to import
    from anthropic import Anthropic


_KEY = "ANTHROPIC_API_KEY"
_ANSWER_TIMEOUT_SECONDS = 180.0
_INVALID = {400, 413, 422}
_TRANSIENT = {408, 409, 425, 429}
_HINTS = {
    401: f"check {_KEY}",
    402: "check the account's billing",
    403: "check what the key may do",
    404: "check split.model and ANTHROPIC_BASE_URL",
}


class InvalidRequestError(Exception):
    """The API does not take this one request, however often it is sent; nothing was paid."""


def check_key() -> None:
    """Refuse to begin without a key.

    Raises:
        ConfigError: there is none in the environment.
    """
    if not os.environ.get(_KEY):
        raise ConfigError(
            f"--splitter anthropic needs an API key: set {_KEY}, or use --splitter offline"
        )


def open_client() -> "Anthropic":
    """Return a client for ANTHROPIC_BASE_URL, or the public API.

    It never repeats a request by itself: a repeated POST can be paid twice, and whether it is worth
    that is decided where costs are counted.
    """
    check_key()
    from anthropic import Anthropic

    return Anthropic(api_key=os.environ[_KEY], max_retries=0, timeout=_ANSWER_TIMEOUT_SECONDS)


def is_transient(error: Exception) -> bool:
    """Say whether the same request may succeed a little later."""
    status = _status_of(error)
    return status is None or status in _TRANSIENT or status >= 500


def is_rate_limit(error: Exception) -> bool:
    """Say whether the request merely came too early."""
    return _status_of(error) == 429


def may_have_arrived(error: Exception) -> bool:
    """Say whether the API may have done what was asked, and only its answer was lost."""
    from httpx2 import ConnectError, ConnectTimeout

    is_unsent = isinstance(error.__cause__, ConnectError | ConnectTimeout)
    return _status_of(error) is None and not is_unsent


def translate(error: Exception) -> Exception:
    """Return our error for one that will not go away.

    Raise it `from None`: theirs carries the request and with it the key.
    """
    status = _status_of(error)
    text = describe(error)
    if status in _INVALID:
        return InvalidRequestError(text)
    hint = _HINTS.get(status or 0, "run the same command again; what is answered is kept")
    return LlmError(f"the API answered {text}; {hint}")


def describe(error: Exception) -> str:
    """Return status and message of an error, on one line and without the key."""
    status = _status_of(error)
    name = type(error).__name__ if status is None else str(status)
    api_message = getattr(error, "api_message", None)
    return one_line(without_key(f"{name}: {api_message or error}"))


def without_key(text: str) -> str:
    """Return a text of the API's, which may quote what we sent, without the key."""
    return redact(text)


def retry_after_seconds(error: Exception) -> float | None:
    """Return how long the API asks us to wait; None: it does not say."""
    response = getattr(error, "response", None)
    text = None if response is None else response.headers.get("retry-after")
    try:
        return None if text is None else max(float(text), 0.0)
    except ValueError:  # a date; ordinary backoff does as well
        return None


def _status_of(error: Exception) -> int | None:
    return getattr(error, "status_code", None)
