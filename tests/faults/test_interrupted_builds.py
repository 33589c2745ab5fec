"""Builds that are killed at random moments, or interrupted."""

import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.coupled_command import (
    TIMEOUT_SECONDS,
    Coupled,
    build_arguments,
    read_rows,
    write_prompts,
)

pytestmark = pytest.mark.timeout(600)
NUM_BATCHES = 4
STOPS = (signal.SIGKILL, signal.SIGINT, signal.SIGKILL)
NUM_OBJECTS = 14
"""That a build leaves below work/: input, two batches twice, decisions and marker of two shards."""


@dataclass(frozen=True)
class History:
    """A build that was stopped again and again, and the run that finished it."""

    folder: Path
    stop_codes: list[int | None]
    """Exit codes of the attempts that were stopped; killed ones are negative."""
    interrupt_message: str
    generated: Counter[str]
    """How often each batch was generated and stored, over all attempts."""


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory, prefect_url: str) -> History:
    """Stop a build at seeded random moments, by SIGKILL and Ctrl-C in turn, then let it finish."""
    folder = tmp_path_factory.mktemp("interrupted")
    write_prompts(folder / "prompts.parquet")
    command, logs = Coupled(folder, {"PREFECT_API_URL": prefect_url}), folder / "all-logs"
    moments = random.Random(20)
    stops = sorted(moments.sample(range(1, NUM_OBJECTS - 4), len(STOPS)))
    codes: list[int | None] = []
    message = ""
    for num_objects, kind in zip(stops, STOPS, strict=True):
        if kind == signal.SIGINT:
            codes.append(_interrupt(command, num_objects, logs))
            message = logs.read_text()
        else:
            codes.append(_kill(command, num_objects, logs, moments.uniform(0, 0.4)))
    final = command.start_warm(*build_arguments(), log=logs)
    final.join(TIMEOUT_SECONDS)
    assert final.exitcode == 0, logs.read_text()
    stored = re.findall(r"work/\w+/(\d+)/: generated batch (\d+)", logs.read_text())
    return History(
        folder,
        codes,
        message,
        Counter(map("/".join, stored)),
    )


def test_a_build_that_was_stopped_again_and_again_ends_with_the_rows_of_an_undisturbed_one(
    history: History, undisturbed: Path
) -> None:
    assert read_rows(history.folder / "pairs") == read_rows(undisturbed / "pairs")


def test_no_stored_batch_is_generated_again(history: History) -> None:
    assert set(history.generated.values()) == {1}
    # a kill between storing a batch and logging it may hide one batch
    assert NUM_BATCHES - len(STOPS) <= len(history.generated) <= NUM_BATCHES


def test_ctrl_c_exits_with_130_and_says_how_to_go_on(history: History) -> None:
    assert history.stop_codes == [-signal.SIGKILL, 130, -signal.SIGKILL]
    assert "run the same command again" in history.interrupt_message
    assert "Traceback" not in history.interrupt_message


def _interrupt(command: Coupled, num_objects: int, logs: Path) -> int:
    """Press Ctrl-C; the program is started as a terminal does, imports and all."""
    process = command.start(*build_arguments(), log=logs)
    _wait_for_objects(command.folder, num_objects, lambda: process.poll() is None)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    return process.returncode


def _kill(command: Coupled, num_objects: int, logs: Path, delay_seconds: float) -> int | None:
    process = command.start_warm(*build_arguments(), log=logs)
    _wait_for_objects(command.folder, num_objects, process.is_alive)
    time.sleep(delay_seconds)
    process.kill()
    process.join(60)
    return process.exitcode


def _wait_for_objects(folder: Path, count: int, is_running: Callable[[], bool]) -> None:
    """Wait until a build has stored so many objects, or has ended."""
    while is_running():
        files = [path for path in (folder / "pairs").glob("work/*/*/**/*") if path.is_file()]
        if len([path for path in files if not path.name.startswith(".")]) >= count:
            return
        time.sleep(0.02)
