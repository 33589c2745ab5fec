"""Ctrl-C and SIGTERM that cannot get lost.

Python carries out what handles a signal wherever the process happens to be, and there Python's
KeyboardInterrupt or Prefect's TerminationSignal is raised. Inside Prefect's bookkeeping between two
tasks they have been seen to come out as "ValueError: Task run is not set", and not to come out at
all: the build went on. So the interpreter writes down which signals came, and they are carried out
again at the next report of progress, and where something has failed.

No handler is exchanged for that: Prefect cancels a run in good order only while its own is there.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from coupled_core.progress import PassedOn, Progress

_TO_END = frozenset({signal.SIGINT, signal.SIGTERM})
_MAX_READ_BYTES = 4096


class InterruptibleProgress(PassedOn):
    """Stops whoever reports progress once a signal said so."""

    def __init__(self, listener: Progress, signals: int) -> None:
        """Take a listener and a descriptor, not blocking, from which numbers of signals come."""
        super().__init__(listener)
        self._signals = signals
        self._told: set[int] = set()

    def _note(self, *, is_waiting: bool = False) -> None:
        # Whoever waits is stopped, too.
        self.stop_if_told()

    def stop_if_told(self) -> None:
        """Carry out again what a signal has called for, and what somebody may have swallowed."""
        for number in self.read_signals():
            # Whoever handles the signal now: Prefect's handler inside a flow, Python's own outside.
            handler = signal.getsignal(number)
            if callable(handler):
                handler(number, None)

    def read_signals(self) -> set[int]:
        """Return which signals told this process to end so far."""
        with suppress(BlockingIOError):  # none came since
            self._told |= _TO_END.intersection(os.read(self._signals, _MAX_READ_BYTES))
        return self._told


@contextmanager
def stopped_by_signals(listener: Progress) -> Iterator[Progress]:
    """Yield a listener that stops whoever reports to it after Ctrl-C or SIGTERM.

    What fails inside may be what became of a signal: then the signal is carried out in its place.
    Handlers run in the main thread alone, so in others the listener comes back as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield listener
        return
    # The interpreter's C handler writes a byte for every signal, before and whether or not any
    # Python code runs for it.
    incoming, outgoing = os.pipe()
    # Python demands that of the end it writes to; the other must not wait where nothing came.
    for end in (incoming, outgoing):
        os.set_blocking(end, False)
    progress = InterruptibleProgress(listener, incoming)
    before = signal.set_wakeup_fd(outgoing, warn_on_full_buffer=False)
    try:
        yield progress
    except Exception:
        progress.stop_if_told()
        raise
    finally:
        signal.set_wakeup_fd(before, warn_on_full_buffer=False)
        # While this one was set, the outer descriptor got nothing.
        if before != -1:  # whoever waits outside has to hear of them, too
            with suppress(BlockingIOError):  # its pipe is full: they have heard of signals
                os.write(before, bytes(progress.read_signals()))
        os.close(incoming)
        os.close(outgoing)
