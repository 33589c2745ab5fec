"""The pace that all threads keep: a rate, and patience with an API that wants to be left alone."""

import logging
import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import TypeVar

from coupled_core.errors import LlmError
from coupled_core.llm.client import ApiError
from coupled_core.llm.reading import quote

T = TypeVar("T")

_MAX_FAILURES = 10
_MAX_COSTLY_FAILURES = 3
"""Answers that did not come in time, or were none: each may have been paid for."""
_MAX_STARVED_SECONDS = 600.0
"""How long no thread may get any answer, though only rate limits stand in the way."""
_MAX_BACKOFF_SECONDS = 60.0
_MAX_ASKED_SECONDS = 120.0
"""The longest wait that the API may ask for; then it is tried again."""
_BURST_SECONDS = 1.0
"""So much of a minute's rate may go out at once."""
_logger = logging.getLogger(__name__)


class Pace:
    """Lets requests through at a rate, and none while the API wants to be left alone."""

    def __init__(
        self, max_per_minute: float | None = None, first_backoff_seconds: float = 0.5
    ) -> None:
        self._per_second = None if max_per_minute is None else max_per_minute / 60
        self._burst = max(1.0, (self._per_second or 0.0) * _BURST_SECONDS)
        self._tokens, self._filled_at, self._closed_until = self._burst, time.monotonic(), 0.0
        self._first_backoff_seconds = first_backoff_seconds
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
            ApiError: the API does not take this request.
            LlmError: it refuses us, or is not well for longer than we wait.
        """
        num_failures = num_costly = num_refused = 0
        refused_at = time.monotonic()
        while True:
            self.wait_for_turn()
            try:
                result = request()
            except ApiError as error:
                if error.is_invalid:
                    raise
                if not error.is_transient:
                    raise error.to_final() from None
                # Under a low limit many threads hear 429 again and again while others get through.
                num_failures += not error.is_rate_limit
                num_costly += error.is_costly
                is_hopeless = num_failures >= _MAX_FAILURES or num_costly >= _MAX_COSTLY_FAILURES
                if is_hopeless or self._is_starved():
                    raise LlmError(
                        f"the API is not well, at last {error}: run the same command again later; "
                        "what is answered is kept"
                    ) from None
                if error.is_rate_limit:
                    # Somebody got through since: not a reason to wait longer than at first.
                    num_refused = 0 if self._answered_at > refused_at else num_refused + 1
                    refused_at = time.monotonic()
                self.back_off(error, num_failures + num_refused)
            else:
                self._answered_at = time.monotonic()
                return result

    def read(self, request: Callable[[], T]) -> T:
        """Make a request that asks nothing of anybody's; one that is not taken is an LlmError."""
        try:
            return self.call(request)
        except ApiError as error:
            raise error.to_final() from None

    def wait_for_turn(self) -> None:
        """Take a token, waiting until there is one."""
        while (seconds := self._take_token()) > 0.0:
            self.sleep(seconds)

    def back_off(self, error: ApiError, num_failures: int) -> None:
        """Wait before a repetition: as long as the API asks within reason, else ever longer."""
        ceiling = min(_MAX_BACKOFF_SECONDS, self._first_backoff_seconds * 2**num_failures)
        # Jitter, so that threads that failed together do not come back together.
        ours = ceiling * random.uniform(0.5, 1.0)
        asked = _read_retry_after(error.retry_after)
        seconds = ours if asked is None else min(max(asked, ours), max(_MAX_ASKED_SECONDS, ours))
        if error.retry_after and seconds != asked:
            said = ", ".join(f"{name}: {value}" for name, value in error.retry_after.items())
            _logger.warning("the API says %s; waiting %.1f s", quote(said), seconds)
        if asked is None:
            self.sleep(ours)
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
            # A token bucket: tokens flow in at the rate, and at most `_burst` of them wait.
            self._tokens += (now - self._filled_at) * self._per_second
            self._tokens, self._filled_at = min(self._tokens, self._burst), now
            if self._tokens < 1.0:
                return (1.0 - self._tokens) / self._per_second
            self._tokens -= 1.0
            return 0.0


def _read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the API asks us to wait, any number; None: it names none."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        with suppress(ValueError):
            if not math.isnan(seconds := float(headers.get(name, "")) * unit):
                return seconds
    # The header may also name a date (RFC 9110).
    with suppress(ValueError, TypeError, OverflowError):
        when = parsedate_to_datetime(headers.get("retry-after", ""))
        return when.timestamp() - time.time()
    return None
