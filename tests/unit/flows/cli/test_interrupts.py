import os
import signal
from contextlib import suppress

import pytest

from coupled_core.progress import SilentProgress
from flows.cli.interrupts import stop_at_ctrl_c


@pytest.fixture(autouse=True)
def hears_ctrl_c() -> None:
    """Shells let background jobs, such as CI's, ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c_stops_what_runs() -> None:
    with stop_at_ctrl_c(SilentProgress()), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_ctrl_c_that_a_library_swallowed_stops_the_next_report_of_progress() -> None:
    with stop_at_ctrl_c(SilentProgress()) as progress:
        progress.advance("shards")
        with suppress(KeyboardInterrupt):  # what such a library does
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            progress.advance("shards")


def test_the_handler_is_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_at_ctrl_c(SilentProgress()):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_a_process_that_ignores_ctrl_c_goes_on_ignoring_it() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with stop_at_ctrl_c(SilentProgress()) as progress:
        os.kill(os.getpid(), signal.SIGINT)
        progress.advance("shards")
