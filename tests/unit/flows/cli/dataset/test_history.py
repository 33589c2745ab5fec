"""The states of a dataset, as a person or a script meets them."""

from pathlib import Path

import pytest

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.snapshot import InputInfo
from coupled_core.storage.local import LocalStore
from tests.sample_shards import describe_run, publish
from tests.unit.flows.cli.invoke import run, run_json


@pytest.mark.parametrize("command", ["show", "files", "snapshots", "diff"])
def test_an_empty_folder_is_one_line_and_code_4(command: str, tmp_path: Path) -> None:
    code, output, errors = run(command, "--dataset", str(tmp_path))
    assert (code, output) == (4, "")
    assert errors.startswith("error: ") and errors.count("\n") == 1
    assert "coupled build" in errors


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
    assert "made by" in run("snapshots", dataset)[1]
    assert "rows added                  5" in run("diff", dataset)[1]
    assert "undo with: coupled rollback" in run("rollback", dataset, "parent")[1]


def test_two_arguments_of_diff_are_snapshots_and_three_begin_with_the_dataset(
    dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forwards = run_json("diff", dataset, "parent", "current")
    backwards = run_json("diff", dataset, "current", "parent")
    assert (backwards["before"], backwards["after"]) == (forwards["after"], forwards["before"])
    monkeypatch.setenv("COUPLED_OUTPUT__URI", dataset)
    assert run_json("diff", "current", "parent") == backwards


def test_show_takes_any_snapshot_by_name(dataset: str) -> None:
    listed = run_json("snapshots", dataset)["snapshots"]
    assert run_json("show", dataset)["snapshot_id"] == listed[0]["snapshot_id"]
    parent = run_json("show", dataset, "--snapshot", "parent")
    assert parent["snapshot_id"] == listed[1]["snapshot_id"]


def test_files_are_those_of_the_snapshot_alone(dataset: str) -> None:
    assert len(list((Path(dataset) / "manifest").iterdir())) == 2
    parent = run("files", dataset, "--snapshot", "parent")[1].splitlines()
    (manifest,) = parent
    assert Path(manifest).is_file()
    assert run("files", dataset, "--snapshot", "parent", "--kind", "images")[1] != manifest
    listed = run_json("files", dataset, "--kind", "all")["files"]
    assert {part["kind"] for part in listed} == {"manifest", "images"}
    assert all(Path(part["location"]).stat().st_size == part["size_bytes"] for part in listed)


def test_show_names_the_columns_that_were_only_carried(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for name in ("run", "next"):  # both have read the same two files
        inputs = (
            InputInfo(uri="a.csv", etag="1", num_rows=1200, unknown_columns=("Seed", "note")),
            InputInfo(uri="b.csv", etag="2", num_rows=7, unknown_columns=()),
            InputInfo(uri="old.parquet", etag="3"),
        )
        run_info = describe_run(name).model_copy(update={"inputs": inputs})
        commit_shards(store, [publish(store, name, 0)], run_info)
    text = run("show", str(tmp_path))[1]
    assert text.count("    1,200 rows of a.csv: Seed, note") == 1
    assert "b.csv" not in text and "old.parquet" not in text
    stored = run_json("show", str(tmp_path))["runs"][0]["inputs"]
    assert [each["unknown_columns"] for each in stored] == [["Seed", "note"], [], None]
