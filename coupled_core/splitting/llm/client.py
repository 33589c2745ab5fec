"""How the API is talked to: the key, errors in our words, the pace that all threads keep."""

import os
import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from coupled_core.errors import ConfigError, LlmError
from coupled_core.redaction import redact

if TYPE_CHECKING:  # takes seconds to import
    from anthropic import Anthropic

T = TypeVar("T")

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
_MAX_WORDS_CHARS = 300


class InvalidRequestError(Exception):
    """The API does not take this one request, however often it is sent; nothing was paid."""


def has_key() -> bool:
    """Say whether the environment holds a key."""
    return bool(os.environ.get(_KEY))


def check_key() -> None:
    """Refuse to begin without a key.

    Raises:
        ConfigError: there is none in the environment.
    """
    if not has_key():
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
    """Return status and message of an error, fit to be shown."""
    status = _status_of(error)
    name = type(error).__name__ if status is None else str(status)
    api_message = getattr(error, "api_message", None)
    return quote(f"{name}: {api_message or error}")


def quote(text: str) -> str:
    """Return a model's or an API's words fit to be shown: one line, printable, not long.

    The API may repeat what we sent, so keys are taken out.
    """
    plain = "".join(char if char.isprintable() else " " for char in redact(text))
    plain = " ".join(plain.split())
    return plain if len(plain) <= _MAX_WORDS_CHARS else plain[: _MAX_WORDS_CHARS - 1] + "…"


def _status_of(error: Exception) -> int | None:
    return getattr(error, "status_code", None)


_MAX_FAILURES = 10
_MAX_STARVED_SECONDS = 600.0
"""How long no thread may get any answer, though only rate limits stand in the way."""
_FIRST_BACKOFF_SECONDS, _MAX_BACKOFF_SECONDS = 0.5, 60.0
_BURST_SECONDS = 1.0
"""So much of a minute's rate may go out at once."""


class Pace:
    """Lets requests through at a rate, and none while the API wants to be left alone."""

    def __init__(self, max_per_minute: float | None = None) -> None:
        self._per_second = None if max_per_minute is None else max_per_minute / 60
        self._burst = max(1.0, (self._per_second or 0.0) * _BURST_SECONDS)
        self._tokens, self._filled_at, self._closed_until = self._burst, time.monotonic(), 0.0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._answered_at = time.monotonic()

    def stop(self) -> None:
        """Wake everybody who waits; they give up."""
        self._stopped.set()

    def resume(self) -> None:
        """Let requests through again after a stop."""
        self._stopped.clear()
        self._answered_at = time.monotonic()

    def call(self, request: Callable[[], T]) -> T:
        """Make a request until it succeeds, with jittered backoff and never before `retry-after`.

        Only for requests that may be repeated: reading, or asking for an answer that, if it was
        lost on the way, is lost for good.

        Raises:
            InvalidRequestError: the API does not take this request.
            LlmError: it refuses us, or is not well for longer than we wait.
        """
        from anthropic import APIError
        from httpx2 import TransportError  # raised as it is where a stream of results breaks off

        num_failures = 0
        while True:
            self.wait_for_turn()
            try:
                result = request()
            except (APIError, TransportError) as error:
                if not is_transient(error):
                    raise translate(error) from None
                # Under a low limit many threads hear 429 again and again while others get through.
                num_failures += not is_rate_limit(error)
                if num_failures >= _MAX_FAILURES or self._is_starved():
                    raise LlmError(
                        f"the API is not well, at last {describe(error)}: run the same command "
                        "again later; what is answered is kept"
                    ) from None
                self.back_off(error, num_failures)
            else:
                self._answered_at = time.monotonic()
                return result

    def wait_for_turn(self) -> None:
        """Take a token, waiting until there is one."""
        while (seconds := self._take_token()) > 0.0:
            self.sleep(seconds)

    def back_off(self, error: Exception, num_failures: int) -> None:
        """Wait before a repetition: as long as the API asks, else longer each time."""
        response = getattr(error, "response", None)
        asked = None if response is None else response.headers.get("retry-after")
        try:
            seconds = None if asked is None else max(float(asked), 0.0)
        except ValueError:  # a date; ordinary backoff does as well
            seconds = None
        if seconds is None:
            ceiling = min(_MAX_BACKOFF_SECONDS, _FIRST_BACKOFF_SECONDS * 2**num_failures)
            self.sleep(ceiling * random.uniform(0.5, 1.0))
            return
        with self._lock:  # what one thread was told concerns all: `wait_for_turn` keeps them there
            self._closed_until = max(self._closed_until, time.monotonic() + seconds)

    def sleep(self, seconds: float) -> None:
        """Wait; raise LlmError when another thread has failed for good meanwhile."""
        if self._stopped.wait(seconds):
            raise LlmError("gave up because another request failed")

    def _is_starved(self) -> bool:
        return time.monotonic() - self._answered_at > _MAX_STARVED_SECONDS

    def _take_token(self) -> float:
        """Return 0.0 with a token taken, or the seconds to wait before asking again."""
        with self._lock:
            now = time.monotonic()
            if now < self._closed_until:
                # Not all at the same moment when the gate opens again.
                return (self._closed_until - now) * random.uniform(1.0, 1.5) + 1e-3
            if self._per_second is None:
                return 0.0
            self._tokens += (now - self._filled_at) * self._per_second
            self._tokens, self._filled_at = min(self._tokens, self._burst), now
            if self._tokens < 1.0:
                return (1.0 - self._tokens) / self._per_second
            self._tokens -= 1.0
            return 0.0
