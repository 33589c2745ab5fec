"""A shard's parts are named by their content, and checked after the upload."""

import os
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from coupled_core.dataset.columns import MANIFEST_SCHEMA
from coupled_core.dataset.commit.upload import upload_shard, verify_part
from coupled_core.dataset.images import decode_image
from coupled_core.dataset.own_keys import is_own_key
from coupled_core.errors import DatasetError, StorageError
from coupled_core.storage.local import LocalStore
from coupled_core.storage.store import ObjectInfo
from tests.sample_shards import make_rows, publish, with_images


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "data")


def test_parts_are_named_by_shard_and_content(store: LocalStore) -> None:
    shard = publish(store, "run", 12)
    assert [part.kind for part in shard.parts] == ["manifest", "images"]
    for part in shard.parts:
        assert part.key == f"{part.kind}/part-00012-{part.sha256[:8]}.parquet"
        assert store.stat(part.key).size_bytes == part.size_bytes
    assert [part.num_rows for part in shard.parts] == [5, 2]


def test_twins_share_their_parts(store: LocalStore) -> None:
    assert publish(store, "run", 12) == publish(store, "run", 12)
    assert len(list(store.list(""))) == 2


def test_parts_that_lie_there_for_long_are_not_taken_up_but_stored_under_another_name(
    store: LocalStore,
) -> None:
    old = publish(store, "run", 12)
    then = time.time() - 3600
    for part in old.parts:
        os.utime(store.root / part.key, (then, then))
    new = publish(store, "run", 12)
    assert len(list(store.list(""))) == 4
    image_part = new.parts[1]
    assert image_part.key == f"images/part-00012-{old.parts[1].sha256[8:16]}.parquet"
    assert image_part.sha256 == old.parts[1].sha256
    rows = pq.read_table(store.root / new.parts[0].key).to_pylist()
    assert {row["image_part"] for row in rows if row["kept"]} == {image_part.key}
    assert all(is_own_key(part.key) for part in new.parts)


def test_content_that_is_old_under_all_its_names_is_refused_with_what_frees_one(
    store: LocalStore,
) -> None:
    def make() -> None:
        publish(store, "run", 12, num_kept=0)
        then = time.time() - 3600
        for info in store.list(""):
            os.utime(store.root / info.key, (then, then))

    for _ in range(8):
        make()
    with pytest.raises(StorageError, match="coupled gc --keep-snapshots"):
        make()


def test_an_old_part_that_is_collected_while_it_is_looked_at_leaves_its_name_free(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = publish(store, "run", 12, num_kept=0).parts[0]
    then = time.time() - 3600
    os.utime(store.root / part.key, (then, then))
    stat = store.stat

    def collect_first(key: str) -> ObjectInfo:
        monkeypatch.setattr(store, "stat", stat)
        store.delete(key)
        return stat(key)

    monkeypatch.setattr(store, "stat", collect_first)
    assert publish(store, "run", 12, num_kept=0).parts[0] == part


def test_a_manifest_row_points_to_its_images(store: LocalStore) -> None:
    made = make_rows("run", 0, num_kept=3)
    shard = upload_shard(
        store, with_images(made.rows, made.image_rows), run_id="run", shard_index=0
    )
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


def test_a_shard_without_kept_pairs_has_no_image_part(store: LocalStore) -> None:
    shard = publish(store, "run", 0, num_kept=0)
    assert [part.kind for part in shard.parts] == ["manifest"]
    assert shard.funnel.pairs_kept == 0


def test_kept_pairs_and_images_must_be_the_same(store: LocalStore) -> None:
    made = make_rows("run", 0)
    with pytest.raises(DatasetError, match="shard 0: 1 pairs are kept without images"):
        upload_shard(
            store, with_images(made.rows, made.image_rows[1:]), run_id="run", shard_index=0
        )
    with pytest.raises(DatasetError, match="has a pair_id twice"):
        upload_shard(
            store,
            with_images(made.rows + made.rows[:1], made.image_rows),
            run_id="run",
            shard_index=0,
        )
    assert list(store.list("")) == []


def test_a_part_that_came_out_wrong_stops_the_shard(store: LocalStore) -> None:
    shard = publish(store, "run", 0)
    store.write(shard.parts[1].key, b"half a part")
    with pytest.raises(StorageError, match=r"holds 11 bytes with SHA-256 .*, expected"):
        publish(store, "run", 0)


def test_damage_of_every_kind_is_named(store: LocalStore) -> None:
    part = publish(store, "run", 0).parts[0]
    verify_part(store, part)
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


def test_a_key_holds_a_shard_of_any_number_of_digits(store: LocalStore) -> None:
    part = publish(store, "run", 123_456, num_kept=0).parts[0]
    assert part.key == f"manifest/part-123456-{part.sha256[:8]}.parquet"
