"""Ctrl-C that cannot get lost.

Python raises KeyboardInterrupt wherever the process happens to be. Inside Prefect's bookkeeping
between two tasks it has been seen to come out as "ValueError: Task run is not set", and not to come
out at all: the build went on. So the request is remembered, and raised again at the next report of
progress.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from coupled_core.progress import Progress


class InterruptibleProgress:
    """Passes progress on to a listener; after Ctrl-C it raises KeyboardInterrupt instead."""

    def __init__(self, listener: Progress) -> None:
        self._listener = listener
        self._is_interrupted = False

    def begin(self, stage: str, total: int) -> None:
        """Pass it on, unless Ctrl-C was pressed."""
        self._listener.begin(stage, total)
        self._check()

    def extend(self, stage: str, count: int) -> None:
        """Pass it on, unless Ctrl-C was pressed."""
        self._listener.extend(stage, count)
        self._check()

    def advance(self, stage: str, count: int = 1, *, is_new: bool = True) -> None:
        """Pass it on, unless Ctrl-C was pressed."""
        self._listener.advance(stage, count, is_new=is_new)
        self._check()

    def within(self, stage: str, done: float, text: str) -> None:
        """Pass it on, unless Ctrl-C was pressed."""
        self._listener.within(stage, done, text)
        self._check()

    def remark(self, stage: str, text: str) -> None:
        """Pass it on, unless Ctrl-C was pressed."""
        self._listener.remark(stage, text)
        self._check()

    def interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        """Stop now, or at the next report of progress; a handler of SIGINT."""
        self._is_interrupted = True
        raise KeyboardInterrupt

    def _check(self) -> None:
        if self._is_interrupted:
            raise KeyboardInterrupt


@contextmanager
def stop_at_ctrl_c(listener: Progress) -> Iterator[Progress]:
    """Yield a listener that stops whoever reports to it after Ctrl-C; only in the main thread.

    A process that was told to ignore SIGINT, such as one under nohup, goes on ignoring it.
    """
    progress = InterruptibleProgress(listener)
    previous = signal.getsignal(signal.SIGINT)
    if previous is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, progress.interrupt)
    try:
        yield progress
    finally:
        signal.signal(signal.SIGINT, previous)
