"""Pictures of pairs: from parts, from work that is left, never unsafe ones, small enough."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coupled_core.dataset.images import decode_image
from coupled_core.dataset.reader import iter_manifest, iter_rows
from coupled_core.dataset.work import WorkFolder
from coupled_core.errors import DatasetError
from coupled_core.records import EntityMask, GeneratedSample
from coupled_core.report.gallery import make_thumbnails
from coupled_core.report.pair_images import PairImages, ShardWorks, iter_pair_images
from coupled_core.runs.checkpoints import (
    ScoredSample,
    encode_sample,
    write_generated,
    write_scored,
)
from coupled_core.storage.open_store import open_store
from coupled_core.storage.store import ObjectStore
from tests.sample_pairs import commit_pairs, draw_pair, spread_pairs


def _decode_uri(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_stored_images_are_those_of_their_pair(tmp_path: Path) -> None:
    store = open_store(tmp_path / "pairs")
    looks = [draw_pair(seed) for seed in range(5)]
    snapshot = commit_pairs(store, spread_pairs(10), images=looks, store_dropped=True)
    rows = [row for b in iter_manifest(store, snapshot.parts) for row in b.to_pylist()]
    found = {each.pair_id: each for each in iter_pair_images(store, rows[::3], ShardWorks(store))}
    assert found.keys() == {row["pair_id"] for row in rows[::3]}
    for index in range(0, 10, 3):
        assert found[rows[index]["pair_id"]].image_1 == looks[index % 5].image_1.data


def test_an_image_that_is_not_the_one_of_the_manifest_is_not_shown(tmp_path: Path) -> None:
    store = open_store(tmp_path / "pairs")
    snapshot = commit_pairs(store, spread_pairs(4))
    row = next(row for row in iter_rows(iter_manifest(store, snapshot.parts)) if row["kept"])
    with pytest.raises(DatasetError, match=f"image 0 of pair {row['pair_id']}"):
        list(iter_pair_images(store, [{**row, "image_0_sha256": "0" * 64}], ShardWorks(store)))


def _leave_work(store: ObjectStore, picture: np.ndarray) -> dict[str, object]:
    """Store a batch of one sample of two images and return the row of its dropped pair."""
    folder = WorkFolder(store, "run", 0)
    sample = GeneratedSample((picture, 255 - picture), 1.0, "cpu")
    encoded = encode_sample(sample, "png")
    masks = tuple(EntityMask(np.eye(16, dtype=bool), 0.9, False) for _ in range(2))
    write_generated(folder, 0, {"key": encoded})
    write_scored(folder, 0, {"key": ScoredSample(masks, {})})
    return {
        "pair_id": "a" * 32,
        "run_id": "run",
        "shard_index": 0,
        "image_part": None,
        "image_index_0": 0,
        "image_index_1": 1,
        "image_0_sha256": encoded.images[0].sha256,
        "image_1_sha256": encoded.images[1].sha256,
        "reject_reasons": ["below_min_combined"],
    }


def test_images_of_dropped_pairs_come_from_work_that_is_left(tmp_path: Path) -> None:
    store = open_store(tmp_path / "pairs")
    picture = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    row = _leave_work(store, picture)
    (found,) = iter_pair_images(store, [row], ShardWorks(store))
    assert np.array_equal(decode_image(found.image_1), 255 - picture)
    unsafe = {**row, "reject_reasons": ["unsafe"]}
    other_run = {**row, "run_id": "another"}
    assert list(iter_pair_images(store, [unsafe, other_run], ShardWorks(store))) == []


@pytest.mark.parametrize("max_bytes", [1500, 3000, 8000, 60_000])
def test_thumbnails_of_photographs_fit_their_bytes_and_use_them(max_bytes: int) -> None:
    look = draw_pair(1, side_px=256)
    images = PairImages("id", look.image_0.data, look.image_1.data, look.mask_0, look.mask_1)
    made = make_thumbnails(images, max_bytes)
    used = sum(map(len, (made.image_0, made.image_1, made.mask_0, made.mask_1)))
    assert 0.4 * max_bytes < used <= max_bytes
    assert _decode_uri(made.image_0).size == _decode_uri(made.image_1).size == made.size_px


def test_small_images_with_room_are_shown_pixel_by_pixel() -> None:
    look = draw_pair(1)
    images = PairImages("id", look.image_0.data, look.image_1.data, look.mask_0, look.mask_1)
    made = make_thumbnails(images, 40_000)
    shown = np.asarray(_decode_uri(made.image_0).convert("RGB"))
    assert np.array_equal(shown, decode_image(look.image_0.data))
    alpha = np.asarray(_decode_uri(made.mask_0).convert("RGBA"))[..., 3]
    assert (alpha == 0).sum() == 12 * 12
