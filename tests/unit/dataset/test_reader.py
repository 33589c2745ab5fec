"""Readers see whole states only, in the present schema."""

import threading
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from coupled_core.dataset.commit import commit_shards
from coupled_core.dataset.reader import current_snapshot, iter_images, iter_manifest
from coupled_core.dataset.schema import MANIFEST_SCHEMA
from coupled_core.storage.local import LocalStore
from tests.sample_shards import describe_run, publish


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "data")


def test_a_reader_that_looks_all_the_time_never_sees_half_a_shard(store: LocalStore) -> None:
    seen, is_over = set(), threading.Event()

    def write() -> None:
        for index in range(8):
            commit_shards(store, [publish(store, "run", index)], describe_run("run"))
        is_over.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not is_over.is_set():
        snapshot = current_snapshot(store)
        parts = snapshot.parts if snapshot else ()
        num_rows = sum(b.num_rows for b in iter_manifest(store, parts, ["pair_id"]))
        num_images = sum(b.num_rows for b in iter_images(store, parts))
        seen.add((num_rows, num_images))
    writer.join()
    assert seen <= {(5 * count, 2 * count) for count in range(9)}
    assert len(seen) > 2


def test_columns_that_an_old_part_lacks_are_null(store: LocalStore) -> None:
    part = publish(store, "run", 0).parts[0]
    path = store.root / part.key
    old = pq.read_table(path).drop_columns(["use_restrictions", "pixel_mse"])
    pq.write_table(old, path)
    batch = next(iter_manifest(store, [part], batch_rows=2))
    assert batch.num_rows == 2
    assert batch.schema.equals(MANIFEST_SCHEMA)
    assert batch["pixel_mse"].null_count == 2
    only = next(iter_manifest(store, [part], ["use_restrictions", "pair_id"]))
    assert only.schema.names == ["use_restrictions", "pair_id"]
