"""`coupled gc` as a person or a script meets it."""

import os
import time
from pathlib import Path

import pytest

from tests.unit.flows.cli.invoke import run, run_json


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
    ("option", "value"), [("--older-than", "nan"), ("--grace", "inf"), ("--keep-snapshots", "0")]
)
def test_a_time_that_is_none_is_code_2_and_names_the_option(
    option: str, value: str, dataset: str
) -> None:
    code, _, errors = run("gc", dataset, option, value)
    assert code == 2
    assert errors.startswith(f"error: {option}: expected ") and f"got '{value}'" in errors


def test_an_empty_folder_is_one_line_and_code_4(tmp_path: Path) -> None:
    code, output, errors = run("gc", "--dataset", str(tmp_path))
    assert (code, output, errors.count("\n")) == (4, "", 1)
