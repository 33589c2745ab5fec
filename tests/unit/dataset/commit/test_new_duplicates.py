"""Near-duplicates are dropped as they are committed, and name the pair that stays."""

from pathlib import Path

import pytest

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.commit.upload import UploadedShard
from coupled_core.dataset.reader import current_snapshot
from coupled_core.storage.local import LocalStore
from tests.stored_images import iter_images
from tests.unit.dataset.similar_pairs import (
    commit_pairs,
    copy_of,
    decisions_of,
    describe_settings,
    draw,
    id_of,
    upload_pairs,
)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def test_a_later_runs_copy_is_dropped_and_names_the_pair_that_stays(store: LocalStore) -> None:
    commit_pairs(store, [upload_pairs(store, "a", {1: (draw(1), 2.0), 2: (draw(2), 2.0)})])
    later = {
        1: (copy_of(draw(1)), 3.0),
        3: (draw(3), 2.0),
        4: (copy_of(draw(2))[::-1], 3.0),
    }
    snapshot = commit_pairs(store, [upload_pairs(store, "b", later)])
    assert decisions_of(store, snapshot) == {
        ("a", 1): None,
        ("a", 2): None,
        ("b", 1): id_of("a", 1),
        ("b", 3): None,
        ("b", 4): id_of("a", 2),
    }
    assert snapshot.runs[-1].funnel.dropped_by_reason == {"duplicate": 2}
    assert sum(part.num_rows for part in snapshot.parts_of("images")) == 3


def test_of_one_runs_copies_the_better_stays_whatever_the_order_of_shards(tmp_path: Path) -> None:
    found = []
    for order in (1, -1):
        store = LocalStore(tmp_path / str(order))
        shards = [
            upload_pairs(store, "a", {1: (draw(1), 2.0), 2: (draw(2), 2.0)}, 0),
            upload_pairs(
                store,
                "a",
                {
                    3: (copy_of(draw(1)), 3.0),
                    4: (copy_of(draw(2)), 1.5),
                },
                1,
            ),
        ][::order]
        found.append(decisions_of(store, commit_pairs(store, shards)))
    assert found[0] == found[1]
    assert {k: v for k, v in found[0].items() if v} == {
        ("a", 1): id_of("a", 3),
        ("a", 4): id_of("a", 2),
    }


def test_the_same_commit_again_and_a_twins_add_nothing(store: LocalStore) -> None:
    shards = [
        upload_pairs(store, "a", {1: (draw(1), 2.0)}, 0),
        upload_pairs(store, "a", {2: (copy_of(draw(1)), 1.5)}, 1),
    ]
    first = commit_pairs(store, shards)
    assert commit_shards(store, shards, describe_settings("a")) is None
    assert commit_shards(store, shards[::-1], describe_settings("a")) is None
    assert current_snapshot(store) == first


class _Overtaken(LocalStore):
    """A store on which a rival commits just before our first snapshot is written."""

    rival: UploadedShard | None = None

    def write_if_absent(self, key: str, data: bytes) -> str:
        if key == "current.json" and self.rival:
            rival, self.rival = self.rival, None
            assert commit_shards(LocalStore(self.root), [rival], describe_settings(rival.run_id))
        return super().write_if_absent(key, data)


def test_a_rebased_commit_drops_what_duplicates_the_winners_pairs(tmp_path: Path) -> None:
    store = _Overtaken(tmp_path)
    store.rival = upload_pairs(store, "rival", {1: (copy_of(draw(1)), 1.5)})
    ours = upload_pairs(
        store,
        "run",
        {
            1: (draw(1), 9.0),
            2: (copy_of(draw(1)), 8.0),
            3: (draw(3), 2.0),
        },
    )
    assert decisions_of(store, commit_pairs(store, [ours])) == {
        ("rival", 1): None,
        ("run", 1): id_of("rival", 1),
        ("run", 2): id_of("rival", 1),
        ("run", 3): None,
    }


def test_settings_can_let_duplicates_in(store: LocalStore) -> None:
    pairs = {1: (draw(1), 2.0), 2: (copy_of(draw(1)), 1.5)}
    snapshot = commit_pairs(store, [upload_pairs(store, "a", pairs)], duplicates={"drop": False})
    assert set(decisions_of(store, snapshot).values()) == {None}


def test_images_of_duplicates_are_stored_apart_where_dropped_ones_are(store: LocalStore) -> None:
    pairs = {1: (draw(1), 2.0), 2: (copy_of(draw(1)), 1.5)}
    snapshot = commit_pairs(
        store, [upload_pairs(store, "a", pairs)], output={"store_dropped": True}
    )
    dropped = iter_images(store, snapshot.parts, kind="dropped")
    assert [row["pair_id"] for batch in dropped for row in batch.to_pylist()] == [id_of("a", 2)]
    assert decisions_of(store, snapshot)["a", 2] == id_of("a", 1)
