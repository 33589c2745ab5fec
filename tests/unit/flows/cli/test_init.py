"""`coupled init`: writes what the next commands take, and never over what is there."""

from pathlib import Path

import pytest

from tests.unit.flows.cli.invoke import run, run_json


def test_without_a_name_it_writes_a_csv_and_says_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output, _ = run("init")
    assert code == 0
    commands = [line.split() for line in output.splitlines()[1:]]
    assert commands == [
        ["coupled", "validate", "prompts.csv"],
        ["coupled", "build", "--prompts", "prompts.csv"],
    ]
    assert run_json(*commands[0][1:])["num_groups"] == 3


def test_a_file_that_is_there_is_replaced_only_by_force(tmp_path: Path) -> None:
    path = tmp_path / "my set.csv"
    path.write_text("mine")
    code, _, errors = run("init", str(path))
    assert (code, path.read_text()) == (2, "mine")
    assert "--force" in errors
    assert f"coupled validate '{path}'" in run_json("init", str(path), "--force")["next"]
    assert path.read_text().startswith("# A prompt set")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    code, _, errors = run("init", str(tmp_path / "nowhere" / "set.csv"))
    assert code == 2
    assert "nowhere/set.csv: No such file or directory" in errors
