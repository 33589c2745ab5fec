"""Parts are deterministic, bounded, named by their content, and checked after the upload."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from coupled_core.dataset import part_files
from coupled_core.dataset.columns import IMAGES_SCHEMA, MANIFEST_SCHEMA, SCHEMA_VERSION
from coupled_core.dataset.images import decode_image
from coupled_core.dataset.parts import publish_shard, verify_part
from coupled_core.errors import DatasetError, StorageError
from coupled_core.storage.local import LocalStore
from tests.sample_shards import make_rows, publish


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "data")


def test_equal_rows_give_equal_bytes(tmp_path: Path) -> None:
    first, second = (publish(LocalStore(tmp_path / name), "run", 0) for name in ("a", "b"))
    assert [part.key for part in first.parts] == [part.key for part in second.parts]
    assert [part.sha256 for part in first.parts] == [part.sha256 for part in second.parts]


def test_parts_are_named_by_shard_and_content(store: LocalStore) -> None:
    shard = publish(store, "run", 12)
    assert [part.kind for part in shard.parts] == ["manifest", "images"]
    for part in shard.parts:
        assert part.key == f"{part.kind}/part-00012-{part.sha256[:8]}.parquet"
        assert store.stat(part.key).size_bytes == part.size_bytes
    assert [part.num_rows for part in shard.parts] == [5, 2]


def test_files_carry_the_schema_version_and_suit_their_content(store: LocalStore) -> None:
    manifest, images = (
        pq.read_metadata(store.root / part.key) for part in publish(store, "run", 0).parts
    )
    for metadata in (manifest, images):
        assert metadata.metadata[b"schema_version"] == SCHEMA_VERSION.encode()
    assert manifest.row_group(0).column(0).compression == "ZSTD"
    pixels = images.row_group(0).column(1)
    assert (pixels.path_in_schema, pixels.compression) == ("image_0.bytes", "UNCOMPRESSED")
    assert not pixels.is_stats_set  # they would hold image bytes


def test_a_manifest_row_points_to_its_images(store: LocalStore) -> None:
    made = make_rows("run", 0, num_kept=3)
    shard = publish_shard(store, made.rows, made.image_rows, run_id="run", shard_index=0)
    manifest = pq.read_table(store.root / shard.parts[0].key)
    assert manifest.schema.equals(MANIFEST_SCHEMA)
    for row in manifest.to_pylist():
        if not row["kept"]:
            assert (row["image_part"], row["image_row"]) == (None, None)
            continue
        found = pq.read_table(store.root / row["image_part"]).to_pylist()[row["image_row"]]
        assert found["pair_id"] == row["pair_id"]
        assert len(found["image_1"]["bytes"]) == row["image_1_bytes"]
        assert decode_image(found["image_0"]["bytes"]).shape == (row["height"], row["width"], 3)


def test_row_groups_and_parts_are_bounded_by_bytes(tmp_path: Path) -> None:
    made = make_rows("run", 0, num_kept=10)
    row_bytes = part_files._image_bytes(made.image_rows[0])
    files, places = part_files.write_image_files(
        iter(made.image_rows),
        tmp_path,
        row_group_bytes=row_bytes * 2 + 100,
        part_bytes=row_bytes * 5,
    )
    groups = [pq.ParquetFile(file.path).metadata.num_row_groups for file in files]
    assert [file.num_rows for file in files] == [6, 4]
    assert groups == [3, 2]
    last = places[made.image_rows[-1]["pair_id"]]
    assert (last.file_index, last.row) == (1, 3)
    assert pq.read_schema(files[0].path).equals(IMAGES_SCHEMA)


def test_a_shard_without_kept_pairs_has_no_image_part(store: LocalStore) -> None:
    shard = publish(store, "run", 0, num_kept=0)
    assert [part.kind for part in shard.parts] == ["manifest"]
    assert shard.funnel.pairs_kept == 0


def test_kept_pairs_and_images_must_be_the_same(store: LocalStore) -> None:
    made = make_rows("run", 0)
    with pytest.raises(DatasetError, match="shard 0: 1 pairs are either kept without images"):
        publish_shard(store, made.rows, made.image_rows[1:], run_id="run", shard_index=0)
    with pytest.raises(DatasetError, match="has a pair_id twice"):
        publish_shard(
            store, made.rows + made.rows[:1], made.image_rows, run_id="run", shard_index=0
        )
    assert list(store.list("")) == []


def test_a_part_that_came_out_wrong_stops_the_shard(store: LocalStore) -> None:
    shard = publish(store, "run", 0)
    store.write(shard.parts[1].key, b"half a part")
    with pytest.raises(StorageError, match=r"holds 11 bytes with SHA-256 .*, expected"):
        publish(store, "run", 0)


def test_damage_of_every_kind_is_named(store: LocalStore) -> None:
    part = publish(store, "run", 0).parts[0]
    verify_part(store, part, rehash=True)
    data = store.read(part.key)
    store.write(part.key, data[:-1])
    with pytest.raises(DatasetError, match=rf"has {len(data) - 1} bytes, expected {len(data)}"):
        verify_part(store, part)
    flipped = np.frombuffer(data, np.uint8).copy()
    flipped[100] ^= 1
    store.write(part.key, flipped.tobytes())
    with pytest.raises(DatasetError, match="is damaged: SHA-256"):
        verify_part(store, part)
    store.delete(part.key)
    with pytest.raises(DatasetError, match=r"part-00000-\w{8}\.parquet is missing"):
        verify_part(store, part)
