"""A dataset from groups in memory, in this process."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from coupled_core.dataset.opened import Dataset, open_dataset
from coupled_core.errors import ConfigError, DatasetError, ModelUnavailableError, PromptSetError
from coupled_core.generation.generator import GroupGenerator
from coupled_core.miniature import miniature_folder
from coupled_core.runs.build import build_dataset
from coupled_core.scoring.pair_scorer import PairScorer

KITE, BALLOON = (
    "A red kite flies over a beach at noon",
    "A blue balloon floats over a beach at noon",
)
GROUPS: list[dict[str, Any]] = [
    {"group_id": "beach", "prompts": [KITE, BALLOON], "note": "ours"},
    {"group_id": "moon", "prompts": ["A red kite", "Two boats under the moon"]},
]
FAST: dict[str, Any] = {"num_inference_steps": 2, "min_combined": 0.0, "shard_size": 1}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return build_dataset(GROUPS, tmp_path_factory.mktemp("data"), **FAST)


def test_every_group_has_its_rows(built: Dataset) -> None:
    rows = {row["group_id"]: row for row in built.manifest(kept_only=False).to_pylist()}
    assert rows["beach"]["status"] == "ok" and rows["beach"]["extra"] == '{"note": "ours"}'
    assert (rows["moon"]["status"], rows["moon"]["reject_reasons"]) == ("failed", ["split_failed"])


def test_columns_without_a_meaning_are_named(tmp_path: Path) -> None:
    groups = [{"group_id": "moon", "prompts": ["A red kite", "Two boats"], "Seed": 3}]
    with pytest.warns(UserWarning, match=r"`extra`: Seed \(did you mean seed\?; 1 row\)"):
        build_dataset(groups, tmp_path, **FAST)


def test_the_snapshot_says_that_the_groups_came_from_no_file(built: Dataset) -> None:
    [run] = built.snapshot.runs
    assert [file.uri for file in run.inputs] == [run.config["prompts"]["uri"]] == ["<groups>"]
    assert run.inputs[0].num_rows == 2


def test_the_same_call_again_does_nothing(built: Dataset) -> None:
    again = build_dataset(GROUPS, built.uri, **FAST)
    assert again.snapshot == built.snapshot


def test_more_groups_add_rows_and_leave_those_that_are_there(tmp_path: Path) -> None:
    first = build_dataset(GROUPS[:1], tmp_path, **FAST)
    more = [*GROUPS[:1], {"group_id": "again", "prompts": [KITE, BALLOON]}]
    both = build_dataset(more, tmp_path, **FAST)
    assert len(both.manifest(kept_only=False)) == 2
    assert set(first.files()["manifest"]) < set(both.files()["manifest"])


def test_a_build_that_died_goes_on_where_it_stopped(
    built: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(PairScorer, "score", die)
        with pytest.raises(RuntimeError, match="killed"):
            build_dataset(GROUPS, tmp_path, **FAST)
    with pytest.raises(DatasetError, match="holds no dataset"):
        open_dataset(tmp_path)
    generated = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("generated/*")}
    assert generated
    finished = build_dataset(GROUPS, tmp_path, **FAST)
    assert {path: path.stat().st_mtime_ns for path in generated} == generated
    for name in ("image_0", "image_1"):
        first, second = (np.asarray(getattr(next(iter(d)), name)) for d in (built, finished))
        assert (first == second).all()


def test_images_outlive_the_correction_of_the_judge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, output = tmp_path / "clip", tmp_path / "data"
    shutil.copytree(miniature_folder("clip"), other)

    def die(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="killed"):
        patch.setattr(PairScorer, "score", die)
        build_dataset(GROUPS[:1], output, clip_model=f"local-dir:{other}", **FAST)
    [generated] = [pq.read_table(path) for path in output.rglob("generated/*")]
    monkeypatch.setattr(GroupGenerator, "generate", die)
    dataset = build_dataset(GROUPS[:1], output, **FAST)
    [row] = dataset.manifest(kept_only=False).to_pylist()
    assert (row["status"], row["clip_model"]) == ("ok", "miniature")
    assert [row["image_0_sha256"], row["image_1_sha256"]] == [
        image["sha256"] for image in generated.column("images")[0].as_py()
    ]


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"min_combine": 1}, ConfigError, "did you mean min_combined"),
        ({"sam_model": "vit_h:missing.pth"}, ModelUnavailableError, "no Segment Anything"),
        (
            {"scoring": {"dtype": "float16"}, "device": "cpu"},
            ConfigError,
            "--scoring-dtype float32",
        ),
        ({"max_prompt_chars": 5}, PromptSetError, "expected at most 5"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_made(
    settings: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        build_dataset(GROUPS, tmp_path, **settings)
    assert not list(tmp_path.rglob("generated/*"))
