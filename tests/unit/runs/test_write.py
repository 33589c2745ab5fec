"""What is written of a made pair belongs together: image, mask and numbers of the same prompt."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from coupled_core.config import FilterConfig
from coupled_core.dataset.images import decode_image, decode_mask
from coupled_core.dataset.reader import iter_manifest
from coupled_core.dataset.work import GENERATED
from coupled_core.errors import LeaseLostError, StorageError
from coupled_core.records import EntityMask, GeneratedSample, ImageDescriptor, PairScores
from coupled_core.runs.checkpoints import (
    EncodedSample,
    ScoredSample,
    _plain_generated,
    encode_sample,
    parse_generated,
    write_generated,
    write_scored,
)
from coupled_core.runs.write import write_shard
from tests.sample_shards import sample_run_facts
from tests.stored_images import iter_images
from tests.unit.runs.shard_samples import RUN, make_group, make_split, open_work

COLOURS = ((250, 20, 20), (20, 20, 250), (20, 250, 20))
CORNERS = ((0, 0), (0, 16), (16, 0))
"""Row and column of each entity's square; its side grows from image to image."""
SCORES = PairScores(
    0.2, 0.8, -2.0, 0.3, 0.31, 30.5, 1.9, 0.8, 0.2, 30.0, 0.95, 812.0, 0.5, -0.2, 0.3
)
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
    group = make_group(0, num_prompts=3)
    work = open_work(root, [group], filter=FilterConfig(min_combined=1.0))
    work.keep_outcomes((make_split(group),))
    [key] = work.attempt(1).samples
    images = tuple(np.full((32, 32, 3), colour, np.uint8) for colour in COLOURS)
    made = GeneratedSample(images, 0.5, "toy", region_fraction=0.4, crop_evidence=(0.1, 0.2, 0.3))
    write_generated(work.folder, 0, {key: encode_sample(made, "png")})
    masks = tuple(EntityMask(_mask(index), 0.9, touches_border=True) for index in range(3))
    codes = tuple(ImageDescriptor(f"{index:0128x}") for index in range(3))
    write_scored(work.folder, 0, {key: ScoredSample(masks, dict.fromkeys(PAIRS, SCORES), codes)})
    parts = write_shard(work, sample_run_facts(RUN)).parts
    pictures = {
        row["pair_id"]: row for b in iter_images(work.store, parts) for row in b.to_pylist()
    }
    rows = [row for batch in iter_manifest(work.store, parts) for row in batch.to_pylist()]
    return {(r["image_index_0"], r["image_index_1"]): {**r, **pictures[r["pair_id"]]} for r in rows}


def _side(row: Mapping[str, Any], name: str) -> Any:
    return row[name]["bytes"]


def test_a_row_says_how_large_the_region_is(written: dict[tuple[int, int], dict[str, Any]]) -> None:
    assert {row["region_fraction"] for row in written.values()} == {0.4}


def test_what_is_stored_of_a_sample_is_what_was_made_and_older_work_lacks_some() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    made = GeneratedSample(
        (image, image), 0.5, "toy", region_fraction=0.4, crop_evidence=(0.1, 0.2)
    )
    encoded = encode_sample(made, "png")
    again = encoded.decode()
    assert (again.region_fraction, again.crop_evidence) == (0.4, (0.1, 0.2))
    row = {"key": "k", **_plain_generated(encoded)}
    del row["region_fraction"], row["crop_evidence"]
    old = parse_generated(pa.Table.from_pylist([{**row, "reject_reason": None}]))["k"]
    assert isinstance(old, EncodedSample)
    assert (old.region_fraction, old.crop_evidence) == (None, None)


def test_crop_evidence_of_a_stored_batch_is_there_when_it_is_scored_later(tmp_path: Path) -> None:
    work = open_work(tmp_path, [make_group(0)])
    image = np.zeros((8, 8, 3), np.uint8)
    made = GeneratedSample((image, image), 0.5, "toy", crop_evidence=(0.1, 0.2))
    write_generated(work.folder, 0, {"k": encode_sample(made, "png")})
    table = work.folder.read_table(GENERATED, 0)
    assert table is not None
    stored = parse_generated(table)["k"]
    assert isinstance(stored, EncodedSample)
    assert stored.decode().crop_evidence == (0.1, 0.2)


@pytest.mark.parametrize("pair", PAIRS)
def test_image_0_and_image_1_are_those_of_prompt_0_and_prompt_1(
    written: dict[tuple[int, int], dict[str, Any]], pair: tuple[int, int]
) -> None:
    row = written[pair]
    assert [row["prompt_0"], row["prompt_1"]] == [f"a {index} in field 0" for index in pair]
    for name, index in zip(("image_0", "image_1"), pair, strict=True):
        assert (decode_image(_side(row, name)) == COLOURS[index]).all(), name
        assert row[f"{name}_sha256"] == hashlib.sha256(_side(row, name)).hexdigest()
        assert int(row[f"{name}_clip_code"], 16) == index


@pytest.mark.parametrize("pair", PAIRS)
def test_each_mask_and_its_area_are_those_of_the_image_beside_it(
    written: dict[tuple[int, int], dict[str, Any]], pair: tuple[int, int]
) -> None:
    row = written[pair]
    for name, index in zip(("mask_0", "mask_1"), pair, strict=True):
        assert (decode_mask(_side(row, name)) == _mask(index)).all(), name
        assert row[f"{name}_area_fraction"] == _mask(index).mean()


def test_who_has_lost_the_lease_writes_nothing(tmp_path: Path) -> None:
    def lose() -> None:
        raise LeaseLostError("another process goes on with the shard")

    group = make_group(0)
    work = open_work(tmp_path, [group])
    work.keep_outcomes((make_split(group),))
    work.require_lease = lose
    with pytest.raises(LeaseLostError):
        write_shard(work, sample_run_facts(RUN))
    assert work.folder.read_done() is None


def test_a_missing_batch_is_named_with_its_stage_even_beside_an_empty_one(tmp_path: Path) -> None:
    group = make_group(0)
    work = open_work(tmp_path, [group])
    work.keep_outcomes((make_split(group),))
    with pytest.raises(StorageError, match="generated/ lacks batch 0"):
        write_shard(work, sample_run_facts(RUN))
    write_generated(work.folder, 0, {})
    with pytest.raises(StorageError, match="scored/ lacks batch 0"):
        write_shard(work, sample_run_facts(RUN))
