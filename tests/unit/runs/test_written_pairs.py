"""What is written of a made pair belongs together: image, mask and numbers of the same prompt."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coupled_core.config import FilterConfig
from coupled_core.dataset.images import decode_image, decode_mask
from coupled_core.dataset.reader import iter_images, iter_manifest
from coupled_core.dataset.rows import PlannedPair
from coupled_core.dataset.work import WorkFolder
from coupled_core.records import EntityMask, GeneratedSample, PairScores, Sample
from coupled_core.runs.checkpoints.generated import encode_sample, write_generated
from coupled_core.runs.checkpoints.scored import ScoredSample, write_scored
from coupled_core.runs.filter_stage import filter_shard
from coupled_core.runs.write_stage import ShardContent, write_shard
from coupled_core.storage.local import LocalStore
from tests.sample_shards import SampleProvenance, sample_run_facts
from tests.unit.runs.shard_samples import make_group, make_split

COLOURS = ((250, 20, 20), (20, 20, 250), (20, 250, 20))
CORNERS = ((0, 0), (0, 16), (16, 0))
"""Row and column of each entity's square; its side grows from image to image."""
SCORES = PairScores(0.2, 0.8, -2.0, 0.3, 0.31, 30.5, 1.9, 0.8, 0.2, 30.0, 0.95, 812.0)
PAIRS = ((0, 1), (0, 2), (1, 2))


def _mask(index: int) -> np.ndarray:
    mask = np.zeros((32, 32), bool)
    row, column = CORNERS[index]
    mask[row : row + 4 + index, column : column + 4 + index] = True
    return mask


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], dict[str, Any]]:
    """Rows of the manifest and of the image parts, joined, by the pair's image indices."""
    return _write(tmp_path_factory.mktemp("dataset"))


def _write(root: Path) -> dict[tuple[int, int], dict[str, Any]]:
    store = LocalStore(root)
    folder = WorkFolder(store, "0123456789abcdef", 0)
    group = make_group(0, num_prompts=3)
    samples = {"key": Sample(group, 7, make_split(group))}
    images = tuple(np.full((32, 32, 3), colour, np.uint8) for colour in COLOURS)
    generated = encode_sample(GeneratedSample(images, 0.5, "toy"), "png")
    write_generated(folder, 0, {"key": generated})
    masks = tuple(EntityMask(_mask(index), 0.9, touches_border=True) for index in range(3))
    write_scored(folder, 0, {"key": ScoredSample(masks, dict.fromkeys(PAIRS, SCORES))})
    filter_shard(samples, folder, FilterConfig(), batch_size=2)
    pairs = [PlannedPair(f"{i}-{j}", group, (i, j), 7, 0) for i, j in PAIRS]
    content = ShardContent(0, samples, {"key": pairs})
    facts, provenance = sample_run_facts("0123456789abcdef"), SampleProvenance()
    shard = write_shard(content, folder, store, facts, provenance, batch_size=2)
    return _join(store, shard.parts)


def _join(store: LocalStore, parts: Any) -> dict[tuple[int, int], dict[str, Any]]:
    pictures = {row["pair_id"]: row for b in iter_images(store, parts) for row in b.to_pylist()}
    rows = [row for batch in iter_manifest(store, parts) for row in batch.to_pylist()]
    return {(r["image_index_0"], r["image_index_1"]): {**r, **pictures[r["pair_id"]]} for r in rows}


def _side(row: Mapping[str, Any], name: str) -> Any:
    return row[name]["bytes"]


@pytest.mark.parametrize("pair", PAIRS)
def test_image_0_and_image_1_are_those_of_prompt_0_and_prompt_1(
    written: dict[tuple[int, int], dict[str, Any]], pair: tuple[int, int]
) -> None:
    row = written[pair]
    assert [row["prompt_0"], row["prompt_1"]] == [f"a {index} in field 0" for index in pair]
    for name, index in zip(("image_0", "image_1"), pair, strict=True):
        assert (decode_image(_side(row, name)) == COLOURS[index]).all(), name


@pytest.mark.parametrize("pair", PAIRS)
def test_each_mask_and_its_area_are_those_of_the_image_beside_it(
    written: dict[tuple[int, int], dict[str, Any]], pair: tuple[int, int]
) -> None:
    row = written[pair]
    for name, index in zip(("mask_0", "mask_1"), pair, strict=True):
        assert (decode_mask(_side(row, name)) == _mask(index)).all(), name
        assert row[f"{name}_area_fraction"] == _mask(index).mean()
