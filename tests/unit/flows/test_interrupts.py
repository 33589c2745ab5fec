"""What tells a process to end gets through, whoever swallows it."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from types import FrameType

import pytest

from coupled_core.progress import SilentProgress
from flows.interrupts import stopped_by_signals


class _TerminatedError(BaseException):
    """What a handler of SIGTERM raises, such as Prefect's."""


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise _TerminatedError


@pytest.fixture(autouse=True)
def hears_signals() -> Iterator[None]:
    """Shells let background jobs, such as CI's, ignore SIGINT."""
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: _terminate}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


SIGNALS = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, _TerminatedError)]


@pytest.mark.parametrize(("number", "raised"), SIGNALS)
def test_a_signal_stops_what_runs(number: int, raised: type[BaseException]) -> None:
    with stopped_by_signals(SilentProgress()), pytest.raises(raised):
        os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "raised"), SIGNALS)
def test_a_signal_that_a_library_swallowed_stops_every_later_report_of_progress(
    number: int, raised: type[BaseException]
) -> None:
    with stopped_by_signals(SilentProgress()) as progress:
        progress.advance("shards")
        with suppress(raised):  # what such a library does
            os.kill(os.getpid(), number)
        for _ in range(2):
            with pytest.raises(raised):
                progress.advance("shards")


def test_a_signal_that_came_out_as_another_error_is_carried_out_in_its_place() -> None:
    with pytest.raises(_TerminatedError), stopped_by_signals(SilentProgress()):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except _TerminatedError as error:
            raise ValueError("Task run is not set") from error


def test_an_error_stays_one_where_no_signal_came() -> None:
    with pytest.raises(ValueError, match="shapes"), stopped_by_signals(SilentProgress()):
        raise ValueError("shapes do not match")


def test_a_signal_that_was_swallowed_inside_stops_what_is_outside() -> None:
    with stopped_by_signals(SilentProgress()) as outer:
        with stopped_by_signals(SilentProgress()), suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            outer.advance("shards")


def test_no_handler_is_exchanged_and_nothing_is_left_behind() -> None:
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    with stopped_by_signals(SilentProgress()):
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert signal.set_wakeup_fd(before) == before


def test_a_process_that_ignores_ctrl_c_goes_on_ignoring_it() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with stopped_by_signals(SilentProgress()) as progress:
        os.kill(os.getpid(), signal.SIGINT)
        progress.advance("shards")


def test_other_signals_stop_nothing() -> None:
    before = signal.signal(signal.SIGUSR1, lambda _number, _frame: None)
    try:
        with stopped_by_signals(SilentProgress()) as progress:
            os.kill(os.getpid(), signal.SIGUSR1)
            progress.advance("shards")
    finally:
        signal.signal(signal.SIGUSR1, before)
