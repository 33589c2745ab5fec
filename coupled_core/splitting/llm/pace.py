"""When the next request may go out: a token bucket that all threads share, and patience."""

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from coupled_core.errors import LlmError
from coupled_core.splitting.llm.client import (
    describe,
    is_transient,
    retry_after_seconds,
    translate,
)

T = TypeVar("T")
_MAX_TRIES = 10
_FIRST_BACKOFF_SECONDS, _MAX_BACKOFF_SECONDS = 0.5, 60.0
_BURST_SECONDS = 1.0
"""So much of a minute's rate may go out at once."""


class Pace:
    """Lets requests through at a rate, and none while the API wants to be left alone."""

    def __init__(self, max_per_minute: float | None) -> None:
        self._per_second = None if max_per_minute is None else max_per_minute / 60
        self._burst = max(1.0, (self._per_second or 0.0) * _BURST_SECONDS)
        self._tokens, self._filled_at, self._closed_until = self._burst, time.monotonic(), 0.0
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Wake everybody who waits; they give up."""
        self._stopped.set()

    def resume(self) -> None:
        """Let requests through again after a stop."""
        self._stopped.clear()

    def wait_for_turn(self) -> None:
        """Take a token, waiting until there is one.

        Raises:
            LlmError: another thread has failed for good.
        """
        while (seconds := self._take()) > 0.0:
            self.sleep(seconds)

    def close_for(self, seconds: float) -> None:
        """Let nobody through for a while: what one thread was told concerns all."""
        with self._lock:
            self._closed_until = max(self._closed_until, time.monotonic() + seconds)

    def sleep(self, seconds: float) -> None:
        """Wait.

        Raises:
            LlmError: another thread has failed for good meanwhile.
        """
        if self._stopped.wait(seconds):
            raise LlmError("gave up because another request failed")

    def _take(self) -> float:
        """Return 0.0 with a token taken, or the seconds to wait before asking again."""
        with self._lock:
            now = time.monotonic()
            if now < self._closed_until:
                # Not all at the same moment when the gate opens again.
                return (self._closed_until - now) * random.uniform(1.0, 1.1) + 1e-3
            if self._per_second is None:
                return 0.0
            self._tokens += (now - self._filled_at) * self._per_second
            self._tokens, self._filled_at = min(self._tokens, self._burst), now
            if self._tokens < 1.0:
                return (1.0 - self._tokens) / self._per_second
            self._tokens -= 1.0
            return 0.0


def call_patiently(pace: Pace, request: Callable[[], T]) -> T:
    """Make a request until it succeeds, with jittered backoff and never before `retry-after`.

    Only for requests that may be repeated: reading, or asking for an answer that, if it was lost on
    the way, is lost for good.

    Raises:
        InvalidRequestError: the API does not take this request.
        LlmError: it refuses us, or is not well for longer than we wait.
    """
    from anthropic import APIError
    from httpx2 import TransportError  # raised as it is where a stream of results breaks off

    for attempt in range(_MAX_TRIES):
        pace.wait_for_turn()
        try:
            return request()
        except (APIError, TransportError) as error:
            if not is_transient(error):
                raise translate(error) from None
            last = describe(error)
            wait_after(pace, error, attempt)
    raise LlmError(
        f"the API failed {_MAX_TRIES} times in a row, at last with {last}: run the same command "
        "again later; what is answered is kept"
    )


def wait_after(pace: Pace, error: Exception, attempt: int) -> None:
    """Wait before a repetition: as long as the API asks, else longer from time to time."""
    asked = retry_after_seconds(error)
    if asked is not None:
        pace.close_for(asked)  # and `wait_for_turn` keeps us there
        return
    ceiling = min(_MAX_BACKOFF_SECONDS, _FIRST_BACKOFF_SECONDS * 2**attempt)
    pace.sleep(ceiling * random.uniform(0.5, 1.0))
