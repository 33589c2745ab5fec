"""When the next request may go out: a token bucket that all threads share, and patience."""

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from coupled_core.errors import LlmError
from coupled_core.splitting.llm.client import (
    describe,
    is_rate_limit,
    is_transient,
    retry_after_seconds,
    translate,
)

T = TypeVar("T")
_MAX_FAILURES = 10
_MAX_STARVED_SECONDS = 600.0
"""Without any answer to any thread, though nothing but rate limits stands in the way."""
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
        self._answered_at = time.monotonic()

    def stop(self) -> None:
        """Wake everybody who waits; they give up."""
        self._stopped.set()

    def resume(self) -> None:
        """Let requests through again after a stop."""
        self._stopped.clear()
        self.note_answer()

    def note_answer(self) -> None:
        """Remember that the API has just answered somebody."""
        self._answered_at = time.monotonic()

    def is_starved(self) -> bool:
        """Say whether nobody has been answered for long."""
        return time.monotonic() - self._answered_at > _MAX_STARVED_SECONDS

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
                return (self._closed_until - now) * random.uniform(1.0, 1.5) + 1e-3
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

    num_failures = 0
    while True:
        pace.wait_for_turn()
        try:
            result = request()
        except (APIError, TransportError) as error:
            if not is_transient(error):
                raise translate(error) from None
            # Many threads under a low limit are told 429 again and again while others get through.
            num_failures += not is_rate_limit(error)
            if num_failures >= _MAX_FAILURES or pace.is_starved():
                raise _gave_up(describe(error)) from None
            wait_after(pace, error, num_failures)
        else:
            pace.note_answer()
            return result


def _gave_up(last: str) -> LlmError:
    return LlmError(
        f"the API is not well, at last {last}: run the same command again later; what is answered "
        "is kept"
    )


def wait_after(pace: Pace, error: Exception, attempt: int) -> None:
    """Wait before a repetition: as long as the API asks, else longer from time to time."""
    asked = retry_after_seconds(error)
    if asked is not None:
        pace.close_for(asked)  # and `wait_for_turn` keeps us there
        return
    ceiling = min(_MAX_BACKOFF_SECONDS, _FIRST_BACKOFF_SECONDS * 2**attempt)
    pace.sleep(ceiling * random.uniform(0.5, 1.0))
