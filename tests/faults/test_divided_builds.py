"""Two processes with the same command: they divide the shards, and one survives the other."""

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.process import BaseProcess
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
BATCHES = {"00000/0", "00000/1", "00001/0", "00001/1"}


@pytest.fixture
def start(coupled: Coupled) -> Callable[[int], BaseProcess]:
    """Start the small build as process number n."""
    write_prompts(coupled.folder / "prompts.parquet")
    return lambda n: coupled.start_warm(*build_arguments(), log=coupled.folder / f"log-{n}")


def _generated(folder: Path) -> Counter[str]:
    """Count how often each batch was generated, over all processes."""
    logs = "".join(path.read_text() for path in folder.glob("log-*"))
    return Counter(map("/".join, re.findall(r"work/\w+/(\d+)/: generated batch (\d+)", logs)))


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def test_two_processes_divide_a_build_and_make_each_image_once(
    coupled: Coupled, start: Callable[[int], BaseProcess], undisturbed: Path
) -> None:
    twins = [start(n) for n in range(2)]
    for twin in twins:
        twin.join(TIMEOUT_SECONDS)
    assert [twin.exitcode for twin in twins] == [0, 0]
    assert _generated(coupled.folder) == dict.fromkeys(BATCHES, 1)
    assert read_rows(coupled.folder / "pairs") == read_rows(undisturbed / "pairs")


def test_the_shard_of_a_killed_process_is_taken_over_and_goes_on_where_it_was(
    coupled: Coupled, start: Callable[[int], BaseProcess], undisturbed: Path
) -> None:
    first = start(0)
    assert first.pid is not None
    _wait_until(lambda: bool(_generated(coupled.folder)))
    os.kill(first.pid, signal.SIGSTOP)
    second = start(1)
    log = coupled.folder / "log-1"
    _wait_until(lambda: "is worked on by" in (log.read_text() if log.exists() else ""))
    first.kill()
    first.join()
    second.join(TIMEOUT_SECONDS)
    assert second.exitcode == 0, log.read_text()
    assert set(_generated(coupled.folder).values()) == {1}
    assert read_rows(coupled.folder / "pairs") == read_rows(undisturbed / "pairs")


def test_a_range_for_a_single_writer_waits_for_the_run_that_commits(
    coupled: Coupled, undisturbed: Path
) -> None:
    write_prompts(coupled.folder / "prompts.parquet")
    pairs = coupled.folder / "pairs"
    code, _, errors = coupled.run(*build_arguments("--single-writer", "--shards", "1"))
    assert code == 0, errors
    assert [path.parent.name for path in pairs.glob("work/*/*/done.json")] == ["00001"]
    assert not (pairs / "current.json").exists()
    code, _, errors = coupled.run(*build_arguments("--single-writer"))
    assert code == 0, errors
    ids, expected = ([r["pair_id"] for r in read_rows(each / "pairs")]
                     for each in (coupled.folder, undisturbed))  # fmt: skip
    assert ids == expected
