"""Shards built by several processes, and what a build leaves that is told to end."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from coupled_core.dataset.reader import current_snapshot
from coupled_core.storage.open_store import open_store
from tests.coupled_command import Coupled, build_arguments, read_rows, write_prompts

pytestmark = pytest.mark.timeout(300)
SIDE_BY_SIDE = ("--runner", "processes", "--workers", "2", "--commit-every", "1")


def _end_between_shards() -> None:
    """Let SIGTERM come while Prefect makes the run of the second shard's task.

    What it raises there is swallowed: `ValueError: Task run is not set` comes in its place.
    """
    from prefect import task_engine

    make_run: Any = task_engine._create_task_run_locally

    def tell(**arguments: Any) -> Any:
        if list(Path("pairs").glob("work/*/*/done.json")):
            task_engine._create_task_run_locally = make_run  # it comes once
            os.kill(os.getpid(), signal.SIGTERM)
        return make_run(**arguments)

    task_engine._create_task_run_locally = tell


def test_two_processes_make_the_rows_of_one_and_commit_as_they_go(
    coupled: Coupled, undisturbed: Path
) -> None:
    write_prompts(coupled.folder / "prompts.parquet")
    code, output, errors = coupled.run(*build_arguments(*SIDE_BY_SIDE, "--json"))
    assert code == 0, errors
    assert read_rows(coupled.folder / "pairs") == read_rows(undisturbed / "pairs")
    assert json.loads(output)["is_new"]
    snapshot = current_snapshot(open_store(coupled.folder / "pairs"))
    assert snapshot is not None
    assert snapshot.parent is not None  # a commit a shard


def test_a_build_that_is_told_to_end_commits_its_finished_shards(coupled: Coupled) -> None:
    write_prompts(coupled.folder / "prompts.parquet")
    log = coupled.folder / "log"
    process = coupled.start_warm(*build_arguments("--shard-size", "1"), log=log)
    pairs = coupled.folder / "pairs"
    while not list(pairs.glob("work/*/*/done.json")) and process.is_alive():
        time.sleep(0.02)
    process.terminate()
    process.join(60)
    assert process.exitcode == -signal.SIGTERM, log.read_text()
    _check_what_is_left(pairs)


def test_a_build_that_is_told_to_end_in_prefects_bookkeeping_ends_and_blames_no_shard(
    coupled: Coupled,
) -> None:
    write_prompts(coupled.folder / "prompts.parquet")
    code, _, errors = coupled.run(*build_arguments("--shard-size", "1"), before=_end_between_shards)
    assert code == -signal.SIGTERM, errors
    _check_what_is_left(coupled.folder / "pairs")
    assert not list(coupled.folder.glob("pairs/work/*/*/failures.json"))


def _check_what_is_left(pairs: Path) -> None:
    finished = {path.parent.name for path in pairs.glob("work/*/*/done.json")}
    assert {f"{row['shard_index']:05d}" for row in read_rows(pairs)} == finished
    assert 0 < len(finished) < 4


def test_a_shard_that_has_failed_too_often_is_set_aside_and_named(coupled: Coupled) -> None:
    write_prompts(coupled.folder / "prompts.parquet")
    work = coupled.folder / "pairs" / "work"
    code, output, _ = coupled.run("plan", *build_arguments("--json")[1:])
    poison = work / json.loads(output)["run_id"] / "00001" / "failures.json"
    poison.parent.mkdir(parents=True)
    poison.write_text(json.dumps({"count": 3, "message": "RuntimeError: boom"}))
    code, output, errors = coupled.run(*build_arguments("--json"))
    assert code == 5, errors
    [(shard, why)] = json.loads(output)["failed_shards"].items()
    assert (shard, "set aside after 3 failures, the last of them: RuntimeError: boom" in why) == (
        "1",
        True,
    )
    assert len(read_rows(coupled.folder / "pairs")) < 6
