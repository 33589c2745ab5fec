"""Shards built by several processes, and what a build leaves that is told to end."""

import json
import signal
import time
from pathlib import Path

import pytest

from coupled_core.dataset.reader import current_snapshot
from coupled_core.storage.store import open_store
from tests.coupled_command import Coupled, build_arguments, read_rows, write_prompts

pytestmark = pytest.mark.timeout(300)
SIDE_BY_SIDE = ("--runner", "processes", "--workers", "2", "--commit-every", "1")


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
    process = coupled.start(*build_arguments("--shard-size", "1"))
    pairs = coupled.folder / "pairs"
    while not list(pairs.glob("work/*/*/done.json")) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode != 0
    finished = {path.parent.name for path in pairs.glob("work/*/*/done.json")}
    committed = {f"{row['shard_index']:05d}" for row in read_rows(pairs)}
    assert committed == finished
    assert len(finished) < 4


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
