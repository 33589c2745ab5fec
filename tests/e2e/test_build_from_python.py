"""`build_dataset` against `coupled build`: equal groups and settings, equal rows and pixels."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from coupled_core import build_dataset, open_dataset
from tests.coupled_command import read_rows

TELL_HOW_IT_WAS_CALLED = {"run_id", "config_sha256", "source_file"}


def _rows(dataset: Path) -> list[dict[str, Any]]:
    rows = read_rows(dataset)
    return [{k: v for k, v in row.items() if k not in TELL_HOW_IT_WAS_CALLED} for row in rows]


def test_rows_and_images_are_those_of_the_command(undisturbed: Path, tmp_path: Path) -> None:
    groups = pq.read_table(undisturbed / "prompts.parquet").to_pylist()
    same = {"num_inference_steps": 2, "shard_size": 2, "generation": {"batch_size": 1}}
    built = build_dataset(groups, tmp_path / "pairs", **same)
    assert _rows(tmp_path / "pairs") == _rows(undisturbed / "pairs")
    expected = {pair.row["pair_id"]: pair for pair in open_dataset(undisturbed / "pairs")}
    assert {pair.row["pair_id"] for pair in built} == expected.keys()
    for pair in built:
        assert pair.image_0 == expected[pair.row["pair_id"]].image_0
        assert pair.mask_1 == expected[pair.row["pair_id"]].mask_1
