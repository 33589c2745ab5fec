"""`coupled verify`, `regen`, `recut` and `gc` on a dataset that was really built."""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.coupled_command import Coupled, read_rows

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def built(coupled: Coupled, undisturbed: Path) -> Coupled:
    shutil.copytree(undisturbed / "pairs", coupled.folder / "pairs")
    return coupled


def _json(command: Coupled, *arguments: str) -> Any:
    code, output, errors = command.run(*arguments, "--dataset", "pairs", "--json")
    assert code == 0, errors
    return json.loads(output)


def test_a_build_passes_verification(built: Coupled) -> None:
    report = _json(built, "verify")
    assert report["is_whole"]
    assert report["num_rows"] == len(read_rows(built.folder / "pairs"))


def test_a_pair_is_made_again_bit_by_bit_from_its_row(built: Coupled) -> None:
    row = next(r for r in read_rows(built.folder / "pairs") if r["status"] == "ok")
    found = _json(built, "regen", row["pair_id"], "-o", "pair.png")
    assert [image["sha256"] for image in found["images"]] == [
        row["image_0_sha256"],
        row["image_1_sha256"],
    ]
    assert all(image["is_identical"] for image in found["images"])
    assert (built.folder / "pair.png").stat().st_size > 0


def test_another_model_is_refused(built: Coupled, tmp_path: Path) -> None:
    row = next(r for r in read_rows(built.folder / "pairs") if r["status"] == "ok")
    missing = str(tmp_path / "no-model")
    arguments = ("regen", row["pair_id"], "--dataset", "pairs", "--base-model", missing)
    code, _, errors = built.run(*arguments)
    assert code == 3
    assert "no-model" in errors


def test_finished_work_goes_after_the_grace_period_and_the_build_stays_done(
    built: Coupled,
) -> None:
    assert _json(built, "gc")["objects"] == []
    yesterday = time.time() - 2 * 86400
    for path in (built.folder / "pairs").rglob("*"):
        os.utime(path, (yesterday, yesterday))
    found = _json(built, "gc", "--apply")
    assert {each["why"] for each in found["objects"]} == {"finished work"}
    assert not list((built.folder / "pairs" / "work").rglob("*.parquet"))
    assert _json(built, "verify")["is_whole"]
