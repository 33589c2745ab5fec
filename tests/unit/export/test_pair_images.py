"""Pairs come with their own images, in the encoding that readers expect."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coupled_core.dataset.images import decode_image, encode_image
from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.errors import DatasetError
from coupled_core.export.edits import edits_of
from coupled_core.export.pair_images import read_pairs
from coupled_core.export.plan import Selection, iter_windows
from coupled_core.storage.local import LocalStore
from tests.stored_images import iter_images
from tests.unit.export.export_samples import commit_pairs

ALL = Selection(("train", "val", "test"))


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "data")


@pytest.fixture
def snapshot(store: LocalStore) -> Snapshot:
    return commit_pairs(store)


def _rows(store: LocalStore, snapshot: Snapshot, selection: Selection = ALL) -> list[Row]:
    return [row for window in iter_windows(store, snapshot, selection) for row in window]


def test_every_kept_pair_comes_once_with_its_own_images(
    store: LocalStore, snapshot: Snapshot
) -> None:
    stored = {
        row["pair_id"]: (row["image_0"]["bytes"], row["image_1"]["bytes"])
        for batch in iter_images(store, snapshot.parts)
        for row in batch.to_pylist()
    }
    pairs = [pair for row in _rows(store, snapshot) for pair in read_pairs(store, [row])]
    assert len(pairs) == len(stored) == 10
    for pair in pairs:
        assert tuple(image.data for image in pair.images) == stored[pair.row["pair_id"]]


def test_a_partition_holds_its_own_pairs_only(store: LocalStore, snapshot: Snapshot) -> None:
    rows = _rows(store, snapshot, Selection(("val",)))
    assert [row["partition"] for row in rows] == ["val", "val"]
    pairs = list(read_pairs(store, rows))
    assert [pair.row["pair_id"] for pair in pairs] == [row["pair_id"] for row in rows]


def test_an_edit_backwards_swaps_images_captions_and_instruction(
    store: LocalStore, snapshot: Snapshot
) -> None:
    pair = next(read_pairs(store, _rows(store, snapshot)[:1]))
    forward, backward = edits_of(pair, ("forward", "backward"))
    assert (forward.source, forward.target) == (backward.target, backward.source)
    assert (forward.source_caption, backward.source_caption) == (
        "an owl at a lake",
        "a fox at a lake",
    )
    assert forward.instruction.endswith("forward.") and backward.instruction.endswith("back.")


def test_webp_becomes_png_with_equal_pixels_where_readers_want_png(store: LocalStore) -> None:
    rows = _rows(store, commit_pairs(store, 1, image_format="webp"))
    for kept, made in zip(
        read_pairs(store, rows), read_pairs(store, rows, as_png=True), strict=True
    ):
        assert [image.extension for image in (*kept.images, *made.images)] == [
            "webp", "webp", "png", "png",
        ]  # fmt: skip
        for first, second in zip(kept.images, made.images, strict=True):
            np.testing.assert_array_equal(decode_image(first.data), decode_image(second.data))


def test_images_of_unequal_size_are_refused(store: LocalStore, snapshot: Snapshot) -> None:
    row = _rows(store, snapshot)[0]
    part = store.root / row["image_part"]
    table = pq.read_table(part)
    rows = table.to_pylist()
    small = encode_image(np.zeros((8, 16, 3), np.uint8))
    rows[row["image_row"]]["image_1"]["bytes"] = small.data
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), part)
    with pytest.raises(DatasetError, match="16 x 8 pixels, expected 16 x 16"):
        list(read_pairs(store, [{**row, "image_1_sha256": small.sha256}]))
