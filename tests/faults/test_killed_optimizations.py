"""Searches that are killed between and amid evaluations."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.coupled_command import Coupled
from tests.optimize_command import REPORT, optimize_arguments, read_trials

pytestmark = pytest.mark.timeout(600)


def test_a_search_that_was_killed_twice_ends_with_the_report_of_an_undisturbed_one(
    coupled: Coupled, optimised: Path
) -> None:
    for num_trials in (1, 3):
        process = coupled.start_warm(*optimize_arguments(), log=coupled.folder / "log")
        _wait_for_trials(coupled.folder, num_trials, process.is_alive)
        process.kill()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
    finished = read_trials(coupled.folder)
    assert 3 <= len(finished) < len(read_trials(optimised))
    code, _, errors = coupled.run(*optimize_arguments())
    assert code == 0, errors
    assert (coupled.folder / REPORT).read_bytes() == (optimised / REPORT).read_bytes()
    after = read_trials(coupled.folder)
    assert after.keys() == read_trials(optimised).keys()
    # Trials hold wall times: had one been run again, its record would have changed.
    assert {name: after[name] for name in finished} == finished


def test_ctrl_c_exits_with_130_and_says_how_to_go_on(coupled: Coupled) -> None:
    log = coupled.folder / "log"
    process = coupled.start(*optimize_arguments(), log=log)
    _wait_for_trials(coupled.folder, 1, lambda: process.poll() is None)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130, log.read_text()
    assert "run the same command again" in log.read_text()
    assert "Traceback" not in log.read_text()


def _wait_for_trials(folder: Path, count: int, is_running: Callable[[], bool]) -> None:
    """Wait until a search has finished so many trials, or has ended."""
    while is_running() and len(read_trials(folder)) < count:
        time.sleep(0.02)
