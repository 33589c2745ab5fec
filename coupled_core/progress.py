"""How long-running core code tells somebody how far it is, without knowing who listens."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

_LOG_EVERY_SECONDS = 10.0
_logger = logging.getLogger(__name__)


class Progress(Protocol):
    """Counts per stage, such as "generate" or "shards"."""

    def begin(self, stage: str, total: int) -> None:
        """Say how much a stage will do in all; a second call changes the total."""

    def extend(self, stage: str, count: int) -> None:
        """Say that a stage will do so much more than it had begun with."""

    def advance(self, stage: str, count: int = 1, *, is_new: bool = True) -> None:
        """Say that so much more of it is done; not new is what an earlier start has done.

        A count of 0 says nothing, and is for who waits: the answer may be an exception.
        """

    def within(self, stage: str, done: float, text: str) -> None:
        """Say how much of the piece under way is done, in the stage's units, and where it is."""

    def remark(self, stage: str, text: str) -> None:
        """Say something about a stage in a few words, such as the best result so far."""


class SilentProgress:
    """Nobody listens."""

    def begin(self, stage: str, total: int) -> None:
        """Do nothing."""

    def extend(self, stage: str, count: int) -> None:
        """Do nothing."""

    def advance(self, stage: str, count: int = 1, *, is_new: bool = True) -> None:
        """Do nothing."""

    def within(self, stage: str, done: float, text: str) -> None:
        """Do nothing."""

    def remark(self, stage: str, text: str) -> None:
        """Do nothing."""


class StagePace:
    """How far a stage is, how fast, and for how long still.

    The clock starts with the first piece of work, not with the loading before it, and what an
    earlier start has done counts as done but not as fast.
    """

    def __init__(self) -> None:
        self.total = self.done = 0
        self._old = 0.0
        """Done by an earlier start, or before the clock started."""
        self._part = 0.0
        """What is done of the piece under way."""
        self._started_at = time.monotonic()
        self._has_worked = False

    def advance(self, count: int, *, is_new: bool = True) -> None:
        """Count, and begin another piece."""
        self.done += count
        self._part = 0.0
        self._old += 0 if is_new else count
        self._has_worked |= is_new

    def reach(self, done: float) -> None:
        """Say how much of the piece under way is done, in the stage's units."""
        self._part = done
        # The first step of the first piece: what went before it was loading, which says nothing
        # about the pace.
        if not self._has_worked:
            self._started_at, self._old, self._has_worked = time.monotonic(), self.reached, True

    @property
    def reached(self) -> float:
        """What is done, part of the piece under way included."""
        return self.done + self._part

    @property
    def rate(self) -> float | None:
        """Units a second; None: nothing was done yet."""
        worked = self.reached - self._old
        # At least a millisecond: the clock may not have moved.
        return worked / max(time.monotonic() - self._started_at, 1e-3) if worked > 0 else None

    def describe(self) -> list[str]:
        """Return the rate and the time that is left, in words; nothing, where they are unknown."""
        rate = self.rate
        if rate is None:
            return []
        left = self.total - self.reached
        return [_describe_rate(rate), *([_describe_left(left / rate)] if left > 0 else [])]


def _describe_rate(rate: float) -> str:
    for unit, seconds in (("s", 1), ("min", 60)):
        if rate * seconds >= 1:
            return f"{rate * seconds:.1f}/{unit}"
    return f"{rate * 3600:.1f}/h"


def _describe_left(seconds: float) -> str:
    for unit, length, most in (("s", 1, 100), ("min", 60, 6000)):
        if seconds < most:
            return f"{seconds / length:.0f} {unit} left"
    return f"{seconds / 3600:.1f} h left"


class ProgressWithin:
    """Tells of one piece of a larger work by remarks: its counts begin anew with each piece."""

    def __init__(self, listener: Progress, stage: str, piece: str) -> None:
        self._listener, self._stage, self._piece = listener, stage, piece
        self._totals: dict[str, int] = {}
        self._counts: dict[str, int] = {}

    def begin(self, stage: str, total: int) -> None:
        """Remember the total."""
        self._totals[stage] = total

    def extend(self, stage: str, count: int) -> None:
        """Raise the total."""
        self._totals[stage] = self._totals.get(stage, 0) + count

    def advance(self, stage: str, count: int = 1, *, is_new: bool = True) -> None:
        """Count, and say so."""
        self._counts[stage] = self._counts.get(stage, 0) + count
        self.remark(stage, f"{self._counts[stage]} of {self._totals.get(stage, '?')}")

    def within(self, stage: str, done: float, text: str) -> None:
        """Pass on where it is."""
        self.remark(stage, text)

    def remark(self, stage: str, text: str) -> None:
        """Pass it on with the names of the piece and of the stage."""
        self._listener.remark(self._stage, f"{self._piece}: {stage} {text}")


class PassedOn:
    """Passes everything on to a listener; a subclass does something beside it."""

    def __init__(self, listener: Progress) -> None:
        self._listener = listener

    def begin(self, stage: str, total: int) -> None:
        """Pass it on."""
        self._listener.begin(stage, total)
        self._note()

    def extend(self, stage: str, count: int) -> None:
        """Pass it on."""
        self._listener.extend(stage, count)
        self._note()

    def advance(self, stage: str, count: int = 1, *, is_new: bool = True) -> None:
        """Pass it on."""
        self._listener.advance(stage, count, is_new=is_new)
        self._note(is_waiting=count == 0)

    def within(self, stage: str, done: float, text: str) -> None:
        """Pass it on."""
        self._listener.within(stage, done, text)
        self._note()

    def remark(self, stage: str, text: str) -> None:
        """Pass it on."""
        self._listener.remark(stage, text)
        self._note()

    def _note(self, *, is_waiting: bool = False) -> None:
        """Take note that something was passed on; waiting: nothing was said, as count 0 has it."""


class HeardProgress(PassedOn):
    """Lets somebody know that there was something to tell."""

    def __init__(self, listener: Progress, hear: Callable[[], None]) -> None:
        super().__init__(listener)
        self._hear = hear

    def _note(self, *, is_waiting: bool = False) -> None:
        if not is_waiting:  # else perhaps for what hangs
            self._hear()


class LogProgress:
    """Plain lines, one in ten seconds a stage at most: for logs and terminals without cursor."""

    def __init__(self) -> None:
        self._paces: dict[str, StagePace] = {}
        self._logged: dict[str, float] = {}
        self._remarks: dict[str, str] = {}

    def begin(self, stage: str, total: int) -> None:
        """Remember the total, and when the stage began."""
        self._pace(stage).total = total

    def extend(self, stage: str, count: int) -> None:
        """Raise the total."""
        self._pace(stage).total += count

    def advance(self, stage: str, count: int = 1, *, is_new: bool = True) -> None:
        """Count, and log when it is time to or when all is done."""
        if count == 0:
            return
        pace = self._pace(stage)
        pace.advance(count, is_new=is_new)
        self._log(stage, is_last=pace.done == pace.total)

    def within(self, stage: str, done: float, text: str) -> None:
        """Log the part that is done when it is time to, and where the stage begins."""
        self._pace(stage).reach(done)
        self._remarks[stage] = text
        self._log(stage)

    def remark(self, stage: str, text: str) -> None:
        """Put it at the end of the stage's lines; long pauses between counts are filled by it."""
        self._remarks[stage] = text
        # A first remark is no news by itself: it waits for the next line.
        self._logged.setdefault(stage, time.monotonic())
        self._log(stage)

    def _pace(self, stage: str) -> StagePace:
        return self._paces.setdefault(stage, StagePace())

    def _log(self, stage: str, *, is_last: bool = False) -> None:
        now = time.monotonic()
        if is_last or now - self._logged.get(stage, -_LOG_EVERY_SECONDS) >= _LOG_EVERY_SECONDS:
            self._logged[stage] = now
            _logger.info("%s", self._describe(stage))

    def _describe(self, stage: str) -> str:
        pace = self._pace(stage)
        counts = f"{stage}: {pace.done}" + (f" of {pace.total}" if pace.total else "")
        remark = self._remarks.get(stage)
        return ", ".join([counts, *pace.describe(), *([remark] if remark else [])])


_listener: ContextVar[Progress | None] = ContextVar("coupled_progress", default=None)


def current_progress() -> Progress:
    """Return who listens in this context; a silent listener when nobody does."""
    return _listener.get() or SilentProgress()


def has_listener() -> bool:
    """Say whether somebody has decided what becomes of progress, be it nothing."""
    return _listener.get() is not None


@contextmanager
def report_to(progress: Progress) -> Iterator[None]:
    """Let somebody listen to everything that runs inside the `with`, Prefect tasks too."""
    token = _listener.set(progress)
    try:
        yield
    finally:
        _listener.reset(token)
