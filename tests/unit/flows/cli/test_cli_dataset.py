"""The commands on datasets, as a person or a script meets them."""

import json
import os
import time
from pathlib import Path

import pytest

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.reader import current_snapshot
from coupled_core.storage.local import LocalStore
from tests.sample_shards import describe_run, publish
from tests.unit.flows.cli.invoke import run, run_json

COMMANDS = ("snapshots", "diff", "rollback", "verify", "gc", "recut", "regen")


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    store = LocalStore(tmp_path / "pairs")
    for index in range(2):
        commit_shards(store, [publish(store, "run", index)], describe_run("run"))
    return str(tmp_path / "pairs")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_has_json(command: str) -> None:
    code, output, _ = run(command, "--help")
    assert code == 0
    assert "Exit codes" in output and "--json" in output


@pytest.mark.parametrize("command", ["snapshots", "verify", "gc", "diff"])
def test_an_empty_folder_is_one_line_and_code_4(command: str, tmp_path: Path) -> None:
    code, output, errors = run(command, "--dataset", str(tmp_path))
    assert (code, output) == (4, "")
    assert errors.startswith("error: ") and errors.count("\n") == 1


def test_snapshots_diff_and_rollback_agree(dataset: str) -> None:
    listed = run_json("snapshots", "--dataset", dataset)["snapshots"]
    assert [each["state"] for each in listed] == ["current", "history"]
    found = run_json("diff", "--dataset", dataset)
    assert (found["before"], found["after"]) == (listed[1]["snapshot_id"], listed[0]["snapshot_id"])
    assert (found["num_added"], found["examples"][0]["before"]) == (5, None)
    moved = run_json("rollback", "parent", "--dataset", dataset)
    assert moved["snapshot_id"] == found["before"]
    assert run_json("rollback", "previous", "--dataset", dataset)["snapshot_id"] == found["after"]


def test_the_text_of_each_command_says_what_happened(dataset: str) -> None:
    assert "made by" in run("snapshots", "--dataset", dataset)[1]
    assert "rows added                  5" in run("diff", "--dataset", dataset)[1]
    assert "undo with: coupled rollback" in run("rollback", "parent", "--dataset", dataset)[1]
    assert "is whole" in run("verify", "--dataset", dataset)[1]
    code, output, _ = run("recut", "--min-combined", "1.96", "--dataset", dataset)
    assert (code, "2 pairs dropped" in output) == (0, True)


def test_verify_names_damage_and_exits_with_4(dataset: str) -> None:
    assert run_json("verify", "--dataset", dataset)["is_whole"]
    store = LocalStore(Path(dataset))
    snapshot = current_snapshot(store)
    assert snapshot is not None
    part = snapshot.parts_of("images")[0]
    store.delete(part.key)
    code, output, errors = run("verify", "--dataset", dataset, "--json")
    assert code == 4
    assert errors.splitlines()[-1].startswith("error: snapshot")
    assert json.loads(output)["damage"][0]["part"] == part.key


def test_gc_is_a_dry_run_until_told_otherwise(dataset: str) -> None:
    left = Path(dataset) / "work" / "probe-1"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"first")
    long_ago = time.time() - 48 * 3600
    os.utime(left, (long_ago, long_ago))
    assert "nothing was removed yet: add --apply" in run("gc", "--dataset", dataset)[1]
    found = run_json("gc", "--dataset", dataset)
    assert (found["is_dry_run"], [each["key"] for each in found["objects"]]) == (
        True,
        ["work/probe-1"],
    )
    assert left.exists()
    assert not run_json("gc", "--apply", "--dataset", dataset)["is_dry_run"]
    assert not left.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name at least one"),
        (("--max-mask-fraction", "7"), "--max-mask-fraction"),
    ],
)
def test_a_recut_without_sense_is_code_2(
    dataset: str, arguments: tuple[str, ...], said: str
) -> None:
    code, _, errors = run("recut", *arguments, "--dataset", dataset)
    assert code == 2
    assert said in errors


def test_regen_of_an_unknown_pair_is_code_2(dataset: str) -> None:
    code, _, errors = run("regen", "ffff", "--dataset", dataset)
    assert code == 2
    assert "0 pairs" in errors


def test_regen_refuses_a_schedule_that_is_not_the_one_of_the_row(dataset: str) -> None:
    pair = f"{0:016x}{1:016x}"
    code, _, errors = run("regen", pair, "--dataset", dataset)
    assert code == 2  # the sample run's settings are not those of a real run
    assert "settings that this version does not know" in errors
