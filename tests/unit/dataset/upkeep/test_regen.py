"""What a manifest row says about how to make its pair again, and how far images are apart."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.commit.upload import upload_shard
from coupled_core.dataset.images import decode_image
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.dataset.upkeep.regen import (
    REPRODUCED,
    differing_settings,
    find_pair,
    measure_distance,
    sample_of,
    stored_images,
)
from coupled_core.errors import ConfigError, DatasetError
from coupled_core.storage.local import LocalStore
from tests.sample_shards import ShardRows, describe_run, make_rows, with_images


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def _commit(store: LocalStore, made: ShardRows) -> Snapshot:
    shard = upload_shard(
        store, with_images(made.rows, made.image_rows), run_id="run", shard_index=0
    )
    snapshot = commit_shards(store, [shard], describe_run("run"))
    assert snapshot is not None
    return snapshot


def test_a_pair_is_found_by_the_beginning_of_its_id(store: LocalStore) -> None:
    made = make_rows("run", 0)
    row, run = find_pair(store, _commit(store, made), made.rows[1]["pair_id"])
    assert (row["group_id"], run.run_id) == ("group-0-1", "run")


@pytest.mark.parametrize(("beginning", "said"), [("ffff", "0 pairs"), ("0000", "4 pairs")])
def test_a_beginning_of_no_or_many_ids_is_refused(
    store: LocalStore, beginning: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        find_pair(store, _commit(store, make_rows("run", 0)), beginning)


def test_a_pair_that_was_never_made_is_refused_with_its_reason(store: LocalStore) -> None:
    made = make_rows("run", 0)
    with pytest.raises(DatasetError, match=r"status is failed \(no common background\)"):
        find_pair(store, _commit(store, made), made.rows[3]["pair_id"])


def test_the_whole_group_of_a_pair_is_made_again(store: LocalStore) -> None:
    made = make_rows("run", 0, num_kept=3, num_dropped=0)
    indices = ((0, 1), (0, 2), (1, 2))
    for row, pair in zip(made.rows, indices, strict=False):
        row["group_id"] = "trio"
        for side in (0, 1):
            row[f"image_index_{side}"] = pair[side]
            row[f"prompt_{side}"] = f"prompt {pair[side]}"
            row[f"entity_{side}"] = f"entity {pair[side]}"
    snapshot = _commit(store, made)
    row, _ = find_pair(store, snapshot, made.rows[2]["pair_id"])
    sample, chosen = sample_of(store, snapshot, row)
    assert sample.group.prompts == ("prompt 0", "prompt 1", "prompt 2")
    assert sample.split.entity_prompts == ("entity 0", "entity 1", "entity 2")
    assert (chosen, sample.seed) == ((1, 2), row["seed"])


def test_the_same_image_has_the_hash_of_its_row(store: LocalStore) -> None:
    made = make_rows("run", 0)
    snapshot = _commit(store, made)
    row, _ = find_pair(store, snapshot, made.rows[0]["pair_id"])
    images = stored_images(store, row)
    assert images is not None
    assert np.array_equal(images[1], decode_image(made.image_rows[0]["image_1"]["bytes"]))
    found = measure_distance(row, 1, images[1], images[1], "png")
    assert (found.is_identical, found.max_difference, found.phash_distance) == (True, 0, 0)


def test_the_distance_of_another_image_is_measured_in_pixels(store: LocalStore) -> None:
    made = make_rows("run", 0)
    snapshot = _commit(store, made)
    row, _ = find_pair(store, snapshot, made.rows[0]["pair_id"])
    images = stored_images(store, row)
    assert images is not None
    other = images[0].copy()
    other[0, :4, 0] ^= 8
    found = measure_distance(row, 0, other, images[0], "png")
    assert (found.is_identical, found.max_difference) == (False, 8)
    assert found.share_different == 4 / 256
    assert found.mean_difference == pytest.approx(32 / (256 * 3))


def test_a_dropped_pair_is_compared_by_its_hashes_alone(store: LocalStore) -> None:
    made = make_rows("run", 0)
    snapshot = _commit(store, made)
    row, _ = find_pair(store, snapshot, made.rows[2]["pair_id"])
    assert stored_images(store, row) is None
    found = measure_distance(row, 0, np.zeros((16, 16, 3), np.uint8), None, "png")
    assert (found.is_identical, found.max_difference) == (False, None)


def test_settings_that_would_make_other_images_are_named(store: LocalStore) -> None:
    row = make_rows("run", 0).rows[0]
    same = SimpleNamespace(**{name: row[name] for name in REPRODUCED})
    assert differing_settings(row, same) == {}
    same.schedule_id = "other"
    assert differing_settings(row, same) == {"schedule_id": (row["schedule_id"], "other")}
