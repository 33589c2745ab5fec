"""The API as we use it: what its environment has to be, its requests, its failures in our words."""

import math
import os
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from coupled_core.addresses import find_address_problem
from coupled_core.errors import ConfigError, LlmError
from coupled_core.llm.question import Question
from coupled_core.llm.reading import UnreadableError, parse_object, quote

if TYPE_CHECKING:  # takes seconds to import
    import httpx2
    from anthropic import Anthropic

_KEY, _URL = "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"
_PROXIES = frozenset({"http_proxy", "https_proxy", "all_proxy"})
_PROXY_SCHEMES = frozenset({"http", "https", "socks5", "socks5h"})
Deadline = Callable[[], float]
"""When something ends by all means, on the monotonic clock; may change while it goes on."""
_BYTE_TIMEOUT_SECONDS, _CONNECT_SECONDS = 180.0, 10.0
"""How long the next byte may take; what is answered at one go comes all at once."""
# For a small answer, for sending up to 200 MB, for reading the results of 100,000 rows.
_CONTROL_SECONDS, _CREATE_SECONDS, _RESULTS_SECONDS = 120.0, 900.0, 7200.0
_CONTROL_BYTES = 8 << 20
_TOKEN_BYTES = 256
"""No token of an answer takes more, spelt out in escapes, signed thoughts included."""
_ENVELOPE_BYTES = 1 << 16
_BATCH_ID = re.compile(r"[\w-]{1,200}", re.ASCII)
# By HTTP status.
_INVALID = {400, 413, 422}
_TRANSIENT = {408, 409, 425, 429}
_HINTS = {
    401: f"check {_KEY}",
    402: "check the account's billing",
    403: "check what the key may do",
    404: f"check split.model and {_URL}",
}


def has_key() -> bool:
    """Say whether the environment holds a key."""
    return bool(os.environ.get(_KEY))


def check_environment() -> None:
    """Refuse to begin with a key, an address or a proxy that no request can be made with.

    Raises:
        ConfigError: which variable is wrong, and how; never its value.
    """
    key, url = os.environ.get(_KEY), os.environ.get(_URL)
    if not key:
        raise ConfigError(
            f"a language model needs an API key: set {_KEY}, or use --splitter offline"
        )
    if not re.fullmatch(r"[!-~]+", key):
        raise ConfigError(
            f"{_KEY} holds a blank, a line break or a character that is not ASCII, at place "
            f"{re.match('[!-~]*', key).end() + 1} of {len(key)}: "  # type: ignore[union-attr]
            "no key does; copy it again"
        )
    if url is not None and (problem := find_address_problem(url)):
        raise ConfigError(
            f"{_URL} {problem}: expected https://HOST (the key belongs into {_KEY}), or unset it"
        )
    for name, value in os.environ.items():
        if name.lower() in _PROXIES and value:
            whole = value if "://" in value else f"http://{value}"
            if problem := find_address_problem(whole, _PROXY_SCHEMES, may_log_in=True):
                raise ConfigError(f"{name} {problem}: expected http://HOST:PORT, or unset it")


class ApiError(Exception):
    """A request that brought no answer. It holds words and numbers: the library's has the key."""

    def __init__(self, problem: str, status: int | None = None) -> None:
        super().__init__(quote(problem))
        self.status = status
        self.retry_after: Mapping[str, str] = {}
        """What the API says about when to come again, by header."""
        self.is_unsent = False
        """There was no connection."""
        self.is_costly = False
        """It took all its time, or what came was no answer: a repetition is likely to be, too."""

    @classmethod
    def of_unreadable(cls, what: str) -> Self:
        """Return the failure of a request that brought something else than an answer."""
        error = cls(f"not in its own words: {what}")
        error.is_costly = True
        return error

    @property
    def is_rate_limit(self) -> bool:
        """Whether the request merely came too early."""
        return self.status == 429

    @property
    def is_invalid(self) -> bool:
        """Whether the API does not take this one request, however often it is sent."""
        return self.status in _INVALID

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self.status is None or self.status in _TRANSIENT or self.status >= 500

    @property
    def may_have_arrived(self) -> bool:
        """Whether the API may have done what was asked, and only its answer was lost."""
        return self.status is None and not self.is_unsent

    def to_final(self) -> LlmError:
        """Return our error for one that will not go away."""
        hint = _HINTS.get(self.status or 0, "run the same command again; what is answered is kept")
        return LlmError(f"the API answered {self}; {hint}")


def never() -> float:
    """Let it take its time."""
    return math.inf


class Api:
    """The Messages API. Every method raises `ApiError`, and `ConfigError` where it cannot begin.

    It never repeats a request by itself: a repeated POST can be paid twice, and whether it is worth
    that is decided where costs are counted.
    """

    def __init__(self, answer_seconds: float = 600.0) -> None:
        """Open a client for ANTHROPIC_BASE_URL, or the public API; nothing is sent.

        Args:
            answer_seconds: The most that one answer may take in all.
        """
        check_environment()
        self._answer_seconds = answer_seconds
        self.sdk = _open_sdk()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sdk.close()

    def answer(self, question: Question, ends_at: Deadline = never) -> dict[str, Any]:
        """Return the answer to a question as it came: a JSON object, and nothing more is sure.

        Args:
            ends_at: When to give up by all means, as in `limits.limited`.
        """
        return self._fetch(
            "POST",
            "messages",
            question.params,
            seconds=self._answer_seconds,
            max_bytes=bound_answer(question.bounds.max_output_tokens),
            ends_at=ends_at,
        )

    def count_tokens(self, question: Question) -> int:
        """Return the input tokens of a question; free."""
        body = {name: value for name, value in question.params.items() if name != "max_tokens"}
        count = self._fetch("POST", "messages/count_tokens", body).get("input_tokens")
        if type(count) is not int or not 0 < count <= question.bounds.max_input_tokens:
            raise ApiError.of_unreadable("an answer that counts no tokens")
        return count

    def create_batch(self, questions: Sequence[Question]) -> str:
        """Create a batch and return its id."""
        rows = [{"custom_id": each.key.custom_id, "params": each.params} for each in questions]
        created = self._fetch(
            "POST", "messages/batches", {"requests": rows}, seconds=_CREATE_SECONDS
        )
        return _read_batch(created)["id"]  # type: ignore[no-any-return]

    def look_up_batch(self, batch_id: str) -> dict[str, Any]:
        """Return how far a batch is."""
        return _read_batch(self._fetch("GET", f"messages/batches/{batch_id}"))

    def list_batches(self, limit: int, after_id: str | None) -> tuple[list[Any], bool]:
        """Return a page of batches, newest first, and whether there are more."""
        after = f"&after_id={after_id}" if after_id else ""
        page = self._fetch("GET", f"messages/batches?limit={limit}{after}")
        if not isinstance(page.get("data"), list):
            raise ApiError.of_unreadable("a list of batches that is none")
        return [_read_batch(each) for each in page["data"]], bool(page.get("has_more"))

    def iter_results(self, batch_id: str, max_bytes: float) -> Generator[bytes, None, None]:
        """Yield the lines of a batch's results, none longer than `max_bytes`, as they come.

        A longer one is yielded cut short. One thread reads it to the end, or closes it.
        """
        with self._open(
            "GET",
            f"messages/batches/{batch_id}/results",
            seconds=_RESULTS_SECONDS,
            max_bytes=float("inf"),
        ) as response:
            line = b""
            for chunk in response.iter_bytes():
                *whole, rest = chunk.split(b"\n")
                for end in whole:
                    yield (line + end)[: int(max_bytes)]
                    line = b""
                # One byte more than allowed is enough to know that a line is too long; the rest is
                # not kept.
                line = (line + rest)[: int(max_bytes) + 1]
            yield line

    def _fetch(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        seconds: float = _CONTROL_SECONDS,
        max_bytes: float = _CONTROL_BYTES,
        ends_at: Deadline = never,
    ) -> dict[str, Any]:
        data = bytearray()
        with self._open(
            method, path, body, seconds=seconds, max_bytes=max_bytes, ends_at=ends_at
        ) as response:
            for chunk in response.iter_bytes():
                data += chunk
                if len(data) > max_bytes:  # packed, it was less
                    raise ApiError.of_unreadable(f"more than {max_bytes:,.0f} bytes")
        try:
            return parse_object(bytes(data))
        except UnreadableError as error:
            raise ApiError.of_unreadable(str(error)) from None

    @contextmanager
    def _open(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        seconds: float,
        max_bytes: float,
        ends_at: Deadline = never,
    ) -> Iterator["httpx2.Response"]:
        """Make a request whose answer is read by the caller, within limits."""
        import httpx2

        from coupled_core.llm.limits import limited  # takes a second to import

        problem = None
        with limited(seconds, max_bytes, ends_at):
            response = self._send(method, f"/v1/{path}", body)
            try:
                yield response
            except httpx2.HTTPError as error:
                problem = _take_over(error)
                problem.is_costly = True
            finally:
                response.close()
        if problem is not None:  # outside: their error would come along, and the key with it
            raise problem

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> "httpx2.Response":
        import httpx2

        # What comes is handed on as it is, not interpreted by the library.
        options: Any = {"headers": {"X-Stainless-Raw-Response": "stream"}}
        try:
            if method == "GET":
                raw = self.sdk.get(path, cast_to=httpx2.Response, options=options)
            else:
                raw = self.sdk.post(path, cast_to=httpx2.Response, body=body, options=options)
        except Exception as error:  # it trips over hostile documents in ways of its own
            problem = _take_over(error)
        else:
            response: httpx2.Response = getattr(raw, "http_response", raw)
            return response
        raise problem


def bound_answer(max_output_tokens: int) -> float:
    """Return the most bytes of an answer with so many tokens."""
    return _ENVELOPE_BYTES + _TOKEN_BYTES * max_output_tokens


def _open_sdk() -> "Anthropic":
    from anthropic import Anthropic, DefaultHttpxClient
    from httpx2 import Timeout

    from coupled_core.llm.limits import install_limits

    problem = ""
    try:
        # The API redirects nobody; who does is a portal, and the key is not for it.
        timeout = Timeout(_BYTE_TIMEOUT_SECONDS, connect=_CONNECT_SECONDS)
        http = DefaultHttpxClient(follow_redirects=False, timeout=timeout)
        install_limits(http)
        return Anthropic(
            api_key=os.environ[_KEY],
            max_retries=0,
            timeout=timeout,
            http_client=http,
        )
    except Exception as error:  # it has read a dozen more variables of the environment
        problem = f"{type(error).__name__}: {error}"
    raise ConfigError(
        f"no client for the API can be made ({quote(problem)}): check the variables ANTHROPIC_*, "
        "SSL_* and *_PROXY"
    )


def _take_over(error: Exception) -> ApiError:
    import httpx2

    cause = error if isinstance(error, httpx2.HTTPError) else error.__cause__
    status, response = getattr(error, "status_code", None), getattr(error, "response", None)
    what = type(cause or error).__name__ if status is None else str(status)
    words = getattr(error, "api_message", None) or str(cause or "") or str(error)
    # Its words alone are taken over: the library's error holds the request, and with it the key.
    taken = ApiError(f"{what}: {words}", status)
    if isinstance(response, httpx2.Response):
        names = ("retry-after-ms", "retry-after")
        taken.retry_after = {n: response.headers[n] for n in names if n in response.headers}
    # Nothing went out, so nothing can have been paid.
    taken.is_unsent = isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout)
    taken.is_costly = isinstance(cause, httpx2.ReadTimeout)
    return taken


def _read_batch(document: object) -> dict[str, Any]:
    """Return a batch whose id can stand in an address and whose status is one that we know."""
    batch: dict[str, Any] = document if isinstance(document, dict) else {}
    is_known = batch.get("processing_status") in ("in_progress", "canceling", "ended")
    name = batch.get("id")
    if not is_known or not isinstance(name, str) or not _BATCH_ID.fullmatch(name):
        raise ApiError.of_unreadable("a batch without a name or a status that we know")
    return batch
