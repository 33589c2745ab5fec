"""A dataset grows: more prompts, other settings, other thresholds, and what must not be mixed."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from coupled_core.dataset.reader import current_snapshot
from coupled_core.storage.open_store import open_store
from tests.coupled_command import Coupled, build_arguments, read_rows, write_prompts

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def built(coupled: Coupled, undisturbed: Path) -> Coupled:
    """A copy of the small dataset with its prompts."""
    shutil.copytree(undisturbed / "pairs", coupled.folder / "pairs")
    shutil.copy(undisturbed / "prompts.parquet", coupled.folder)
    return coupled


def _build(command: Coupled, *more: str) -> dict[str, Any]:
    code, output, errors = command.run(*build_arguments(*more, "--json"))
    assert code == 0, errors
    summary: dict[str, Any] = json.loads(output)
    return summary


def _parts(folder: Path, kind: str) -> set[str]:
    snapshot = current_snapshot(open_store(folder))
    assert snapshot is not None
    return {part.key for part in snapshot.parts_of(kind)}


def test_more_prompts_add_parts_and_leave_every_row_as_it_was(built: Coupled) -> None:
    dataset = built.folder / "pairs"
    rows, manifest, images = (
        read_rows(dataset),
        _parts(dataset, "manifest"),
        _parts(dataset, "images"),
    )
    write_prompts(built.folder / "prompts.parquet", 5)
    summary = _build(built)
    assert (summary["num_pairs"], summary["num_pairs_before"]) == (7, 6)
    grown = read_rows(dataset)
    assert len(grown) == 7
    assert [row for row in grown if row in rows] == rows
    assert _parts(dataset, "manifest") > manifest
    assert _parts(dataset, "images") >= images


def test_other_settings_make_other_pairs_beside_those_that_are_there(built: Coupled) -> None:
    before = {row["pair_id"] for row in read_rows(built.folder / "pairs")}
    write_prompts(built.folder / "prompts.parquet", 2)
    summary = _build(built, "--seed", "1")
    after = {row["pair_id"] for row in read_rows(built.folder / "pairs")}
    assert before < after
    assert len(after - before) == summary["funnel"]["pairs_planned"] == 4


def test_another_threshold_generates_nothing_and_points_to_recut(built: Coupled) -> None:
    rows, images = read_rows(built.folder / "pairs"), _parts(built.folder / "pairs", "images")
    code, output, errors = built.run(*build_arguments("--min-combined", "99"))
    assert code == 0, errors
    assert "nothing to do" in output
    assert "coupled recut" in output
    code, output, errors = built.run("recut", "--min-combined", "99", "--dataset", "pairs")
    assert code == 0, errors
    cut = read_rows(built.folder / "pairs")
    assert [row["pair_id"] for row in cut] == [row["pair_id"] for row in rows]
    assert not any(row["kept"] for row in cut)
    assert _parts(built.folder / "pairs", "images") == images


def test_scores_of_another_model_are_refused_and_the_setting_is_named(built: Coupled) -> None:
    before = (built.folder / "pairs" / "current.json").read_bytes()
    code, _, errors = built.run(*build_arguments("--sam-model", "vit_b:sam.pth"))
    assert code == 4
    assert "scoring.sam_model is 'vit_b:sam.pth' here and 'miniature' there" in errors
    assert (built.folder / "pairs" / "current.json").read_bytes() == before
