"""States of a dataset: how they are listed and named, compared and returned to."""

from pathlib import Path

import pytest

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.reader import current_snapshot, find_snapshot, iter_history
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.dataset.upkeep.history import diff_snapshots, list_snapshots, roll_back
from coupled_core.errors import ConfigError, ConflictError, DatasetError
from coupled_core.storage.local import LocalStore
from tests.sample_shards import describe_run, publish


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def _commit(store: LocalStore, index: int) -> Snapshot:
    snapshot = commit_shards(store, [publish(store, "run", index)], describe_run("run"))
    assert snapshot is not None
    return snapshot


def test_all_snapshots_are_listed_newest_first_with_what_they_hold(store: LocalStore) -> None:
    made = [_commit(store, index) for index in range(3)]
    found = list_snapshots(store)
    assert [facts.snapshot_id for facts in found] == [s.snapshot_id for s in reversed(made)]
    assert [facts.state for facts in found] == ["current", "history", "history"]
    assert [(facts.num_rows, facts.num_kept) for facts in found] == [(15, 6), (10, 4), (5, 2)]
    assert [facts.parent for facts in found] == [made[1].snapshot_id, made[0].snapshot_id, None]


def test_what_a_rollback_left_is_listed_aside(store: LocalStore) -> None:
    first, second = _commit(store, 0), _commit(store, 1)
    roll_back(store, first.snapshot_id)
    assert {f.snapshot_id: f.state for f in list_snapshots(store)} == {
        first.snapshot_id: "current",
        second.snapshot_id: "aside",
    }


def test_a_damaged_snapshot_is_listed_as_such(store: LocalStore) -> None:
    first, second = _commit(store, 0), _commit(store, 1)
    store.write(first.key, b"{}")
    found = {facts.snapshot_id: facts for facts in list_snapshots(store)}
    assert found[second.snapshot_id].state == "current"
    assert found[first.snapshot_id].state == "damaged"
    assert "is damaged" in str(found[first.snapshot_id].damage)


def test_history_ends_where_ancestors_were_removed(store: LocalStore) -> None:
    first, second, third = (_commit(store, index) for index in range(3))
    store.delete(first.key)
    assert [each.snapshot_id for each in iter_history(store)] == [
        third.snapshot_id,
        second.snapshot_id,
    ]


def test_snapshots_are_found_by_name_and_by_the_beginning_of_their_id(store: LocalStore) -> None:
    first, second = _commit(store, 0), _commit(store, 1)
    assert find_snapshot(store, "current") == second
    assert find_snapshot(store, "parent") == find_snapshot(store, "previous") == first
    assert find_snapshot(store, first.snapshot_id[:-2]) == first


@pytest.mark.parametrize(
    ("name", "message"), [("1999", "no snapshots begin"), ("2", "2 snapshots begin")]
)
def test_a_name_of_no_or_many_snapshots_is_refused(
    store: LocalStore, name: str, message: str
) -> None:
    _commit(store, 0), _commit(store, 1)
    with pytest.raises(ConfigError, match=message):
        find_snapshot(store, name)


def test_a_diff_of_two_builds_counts_rows_and_reads_no_shared_part(store: LocalStore) -> None:
    first, second = _commit(store, 0), _commit(store, 1)
    for part in first.parts:
        store.delete(part.key)
    there, back = diff_snapshots(store, first, second), diff_snapshots(store, second, first)
    assert (there.num_added, there.num_removed) == (back.num_removed, back.num_added) == (5, 0)
    assert len(there.examples) == 5 and there.settings == {}


def test_a_rollback_to_what_is_current_changes_nothing(store: LocalStore) -> None:
    first = _commit(store, 0)
    pointer = store.read("current.json")
    assert roll_back(store, "current") == (first, first.snapshot_id)
    assert store.read("current.json") == pointer


def test_a_rollback_never_takes_away_what_it_has_not_seen(tmp_path: Path) -> None:
    class Overtaken(LocalStore):
        def write_if_match(self, key: str, data: bytes, etag: str) -> str:
            if b"rollback" in data:
                _commit(LocalStore(self.root), 2)
            return super().write_if_match(key, data, etag)

    store = Overtaken(tmp_path)
    _commit(store, 0), _commit(store, 1)
    with pytest.raises(ConflictError, match="nothing was rolled back"):
        roll_back(store, "parent")
    snapshot = current_snapshot(store)
    assert snapshot is not None and len(snapshot.parts_of("manifest")) == 3


def test_a_commit_that_began_before_a_rollback_is_rebased_on_it(tmp_path: Path) -> None:
    class RolledBack(LocalStore):
        has_rolled_back = False

        def write_if_match(self, key: str, data: bytes, etag: str) -> str:
            if b"build" in data and not self.has_rolled_back:
                self.has_rolled_back = True
                roll_back(LocalStore(self.root), "parent")
            return super().write_if_match(key, data, etag)

    plain = LocalStore(tmp_path)
    first, _ = _commit(plain, 0), _commit(plain, 1)
    snapshot = _commit(RolledBack(tmp_path), 2)
    assert snapshot.parent == first.snapshot_id
    assert len(snapshot.parts_of("manifest")) == 2
    assert len(list(plain.list("snapshots/"))) == 3  # the lost attempt left nothing


def test_a_snapshot_whose_parts_are_gone_is_not_returned_to(store: LocalStore) -> None:
    first, second = _commit(store, 0), _commit(store, 1)
    store.delete(first.parts[0].key)
    with pytest.raises(DatasetError, match=f"{first.parts[0].key} has no bytes"):
        roll_back(store, "parent")
    assert current_snapshot(store) == second


def test_an_empty_folder_says_how_to_make_a_dataset(store: LocalStore) -> None:
    with pytest.raises(DatasetError, match="coupled build"):
        find_snapshot(store, "current")
