"""How long-running core code tells somebody how far it is, without knowing who listens."""

import logging
import time
from collections.abc import Iterator
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

    def advance(self, stage: str, count: int = 1) -> None:
        """Say that so much more of it is done."""

    def remark(self, stage: str, text: str) -> None:
        """Say something about a stage in a few words, such as the best result so far."""


class SilentProgress:
    """Nobody listens."""

    def begin(self, stage: str, total: int) -> None:
        """Do nothing."""

    def extend(self, stage: str, count: int) -> None:
        """Do nothing."""

    def advance(self, stage: str, count: int = 1) -> None:
        """Do nothing."""

    def remark(self, stage: str, text: str) -> None:
        """Do nothing."""


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

    def advance(self, stage: str, count: int = 1) -> None:
        """Count, and say so."""
        self._counts[stage] = self._counts.get(stage, 0) + count
        self.remark(stage, f"{self._counts[stage]} of {self._totals.get(stage, '?')}")

    def remark(self, stage: str, text: str) -> None:
        """Pass it on with the names of the piece and of the stage."""
        self._listener.remark(self._stage, f"{self._piece}: {stage} {text}")


class LogProgress:
    """Plain lines, one in ten seconds a stage at most: for logs and terminals without cursor."""

    def __init__(self) -> None:
        self._totals: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._started: dict[str, float] = {}
        self._logged: dict[str, float] = {}
        self._remarks: dict[str, str] = {}

    def begin(self, stage: str, total: int) -> None:
        """Remember the total, and when the stage began."""
        self._totals[stage] = total
        self._started.setdefault(stage, time.monotonic())

    def extend(self, stage: str, count: int) -> None:
        """Raise the total."""
        if stage in self._totals:
            self._totals[stage] += count

    def advance(self, stage: str, count: int = 1) -> None:
        """Count, and log when it is time to or when all is done."""
        if count == 0:
            return
        self._counts[stage] = self._counts.get(stage, 0) + count
        self._log(stage, is_last=self._counts[stage] == self._totals.get(stage))

    def remark(self, stage: str, text: str) -> None:
        """Put it at the end of the stage's lines; long pauses between counts are filled by it."""
        self._remarks[stage] = f", {text}" if text else ""
        self._logged.setdefault(stage, time.monotonic())
        self._log(stage)

    def _log(self, stage: str, *, is_last: bool = False) -> None:
        now = time.monotonic()
        if is_last or now - self._logged.get(stage, -_LOG_EVERY_SECONDS) >= _LOG_EVERY_SECONDS:
            self._logged[stage] = now
            _logger.info("%s", self._describe(stage, now))

    def _describe(self, stage: str, now: float) -> str:
        done, total = self._counts.get(stage, 0), self._totals.get(stage)
        if total is None:
            return f"{stage}: {done}{self._remarks.get(stage, '')}"
        counts = f"{stage}: {done} of {total}"
        if done:
            rate = done / max(now - self._started[stage], 1e-3)
            counts += f", {rate:.2g}/s, {max(total - done, 0) / rate:.0f} s left"
        return counts + self._remarks.get(stage, "")


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
