"""What data teams read with understands what we write: DuckDB and Hugging Face datasets."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from coupled_core.dataset.columns import MANIFEST_SCHEMA
from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.images import decode_image
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.storage.local import LocalStore
from tests.sample_shards import describe_run, publish
from tests.stored_images import iter_images


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "data")


@pytest.fixture
def snapshot(store: LocalStore) -> Snapshot:
    shards = [publish(store, "run", index) for index in range(2)]
    made = commit_shards(store, shards, describe_run("run"))
    assert made is not None
    return made


@pytest.fixture
def load_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    was_enabled = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()

    def load(files: list[str]) -> Any:
        cache = str(tmp_path / "cache")
        return datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=cache)

    yield load
    if was_enabled:
        datasets.enable_progress_bars()


def test_duckdb_counts_reasons_and_joins_images(store: LocalStore, snapshot: Snapshot) -> None:
    manifest = [f"{store.uri}/{part.key}" for part in snapshot.parts_of("manifest")]
    images = [f"{store.uri}/{part.key}" for part in snapshot.parts_of("images")]
    with duckdb.connect() as database:
        reasons = database.execute(
            "select unnest(reject_reasons) as reason, count(*) from read_parquet(?) "
            "group by reason order by reason",
            [manifest],
        ).fetchall()
        joined = database.execute(
            "select m.image_0_bytes = octet_length(i.image_0.bytes) and m.kept "
            "from read_parquet(?) m join read_parquet(?) i using (pair_id)",
            [manifest, images],
        ).fetchall()
        columns = database.execute("describe select * from read_parquet(?)", [manifest]).fetchall()
    assert reasons == [
        ("below_min_combined", 2),
        ("invalid_input", 2),
        ("mask_too_large", 2),
        ("split_failed", 2),
    ]
    assert joined == [(True,)] * 4
    assert [column[0] for column in columns] == MANIFEST_SCHEMA.names


def test_datasets_decodes_images_and_masks(
    store: LocalStore, snapshot: Snapshot, load_dataset: Any
) -> None:
    found = load_dataset([f"{store.uri}/{part.key}" for part in snapshot.parts_of("images")])
    assert {name: str(kind).partition("(")[0] for name, kind in found.features.items()} == {
        "pair_id": "Value",
        "image_0": "Image",
        "image_1": "Image",
        "mask_0": "Image",
        "mask_1": "Image",
    }
    stored = [row for batch in iter_images(store, snapshot.parts) for row in batch.to_pylist()]
    assert len(found) == len(stored) == 4
    for seen, row in zip(found, stored, strict=True):
        assert seen["pair_id"] == row["pair_id"]
        np.testing.assert_array_equal(
            np.asarray(seen["image_0"]), decode_image(row["image_0"]["bytes"])
        )
        assert (seen["mask_1"].mode, set(np.unique(seen["mask_1"]))) == ("L", {0, 255})


def test_datasets_reads_the_manifest(
    store: LocalStore, snapshot: Snapshot, load_dataset: Any
) -> None:
    found = load_dataset([f"{store.uri}/{part.key}" for part in snapshot.parts_of("manifest")])
    assert found.column_names == MANIFEST_SCHEMA.names
    assert sum(found["kept"]) == 4
