"""A dataset as Python sees it: rows, files and pairs of the snapshot that was opened."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.commit.upload import upload_shard
from coupled_core.dataset.images import decode_image, decode_mask
from coupled_core.dataset.opened import Dataset, open_dataset
from coupled_core.dataset.upkeep.recut import recut
from coupled_core.errors import ConfigError, DatasetError
from coupled_core.storage.local import LocalStore
from tests.sample_shards import describe_run, make_rows, publish, with_images
from tests.stored_images import iter_images


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """Two shards, each with two kept pairs and one dropped, one failed and one quarantined row."""
    store = LocalStore(tmp_path / "data")
    commit_shards(store, [publish(store, "run", index) for index in (0, 1)], describe_run("run"))
    return store


@pytest.fixture
def dataset(store: LocalStore) -> Dataset:
    return open_dataset(store.uri)


def test_its_length_is_the_number_of_pairs_that_it_yields(dataset: Dataset) -> None:
    assert len(dataset) == len(list(dataset)) == 4


def test_each_pair_comes_with_its_own_row_images_and_masks(
    store: LocalStore, dataset: Dataset
) -> None:
    batches = iter_images(store, dataset.snapshot.parts)
    stored = {row["pair_id"]: row for batch in batches for row in batch.to_pylist()}
    for pair in dataset:
        expected = stored.pop(pair.row["pair_id"])
        for name in ("image_0", "image_1"):
            pixels = decode_image(expected[name]["bytes"])
            assert (np.asarray(getattr(pair, name)) == pixels).all()
        for name in ("mask_0", "mask_1"):
            mask = decode_mask(expected[name]["bytes"])
            assert (np.asarray(getattr(pair, name)) == 255 * mask).all()
        assert pair.row["kept"] and pair.row["prompt_0"] == "an owl at a lake"
    assert stored == {}


def test_the_manifest_is_of_kept_pairs_unless_all_rows_are_wanted(dataset: Dataset) -> None:
    assert dataset.manifest().num_rows == 4
    everything = dataset.manifest(kept_only=False)
    assert everything.num_rows == 10
    assert everything["status"].to_pylist().count("ok") == 6


def test_columns_come_in_the_order_that_was_asked_for(dataset: Dataset) -> None:
    table = dataset.manifest(["combined", "pair_id"])
    assert table.column_names == ["combined", "pair_id"]
    assert table.num_rows == 4


def test_an_unknown_column_is_named(dataset: Dataset) -> None:
    with pytest.raises(ConfigError, match="no column 'combine': expected some of pair_id, "):
        dataset.manifest(["pair_id", "combine"])


def test_files_are_the_parts_of_the_snapshot_and_no_others(
    store: LocalStore, dataset: Dataset
) -> None:
    publish(store, "unfinished", 0)
    files = dataset.files()
    assert {kind: len(found) for kind, found in files.items()} == {"manifest": 2, "images": 2}
    assert sum(pq.read_metadata(path).num_rows for path in files["manifest"]) == 10


def test_an_opened_snapshot_stays_as_it_is_and_another_can_be_named(
    store: LocalStore, dataset: Dataset
) -> None:
    commit_shards(store, [publish(store, "next", 2)], describe_run("next"))
    assert len(dataset) == len(list(dataset)) == 4
    assert len(open_dataset(store.uri)) == 6
    for name in ("previous", "parent", dataset.snapshot.snapshot_id):
        assert open_dataset(store.uri, name).snapshot == dataset.snapshot


def test_a_pair_that_a_recut_took_back_has_the_images_that_were_stored_of_it(
    tmp_path: Path,
) -> None:
    store, made = LocalStore(tmp_path), make_rows("run", 0, num_kept=2, num_dropped=0)
    made.rows[1].update(combined=0.7, kept=False, reject_reasons=["below_min_combined"])
    kept, dropped = made.image_rows
    pairs = with_images(made.rows, [kept, dropped])
    shard = upload_shard(store, pairs, run_id="run", shard_index=0)
    commit_shards(store, [shard], describe_run("run"))
    assert len(open_dataset(tmp_path).files()["dropped"]) == 1
    recut(store, {"min_combined": 0.5})
    pairs = list(open_dataset(tmp_path))
    assert [pair.row["pair_id"] for pair in pairs] == [kept["pair_id"], dropped["pair_id"]]
    assert (np.asarray(pairs[1].image_0) == decode_image(dropped["image_0"]["bytes"])).all()


def test_images_of_another_pair_are_not_handed_out(store: LocalStore, dataset: Dataset) -> None:
    [first, second] = dataset.snapshot.parts_of("images")
    data = store.read(first.key)
    store.write(second.key, data)
    swapped = second.model_copy(update={"size_bytes": len(data)})
    parts = tuple(swapped if part == second else part for part in dataset.snapshot.parts)
    snapshot = dataset.snapshot.model_copy(update={"parts": parts})
    with pytest.raises(DatasetError, match=r"holds pair .* the manifest expects"):
        list(Dataset(store, snapshot))


def test_a_place_without_a_dataset_is_said_to_be_empty(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no dataset"):
        open_dataset(tmp_path / "nothing")
