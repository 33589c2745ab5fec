"""Commits read an index instead of every part, and the parts where the index is of no use."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.reader import current_snapshot, iter_manifest
from coupled_core.dataset.row_index import committed_pair_ids, open_index
from coupled_core.dataset.snapshot import RunInfo, Snapshot
from coupled_core.dataset.upkeep.damage import Flaw
from coupled_core.dataset.upkeep.history import roll_back
from coupled_core.dataset.upkeep.recut import recut
from coupled_core.dataset.upkeep.verify import verify_snapshot
from coupled_core.storage.local import LocalStore
from tests.counted_store import CountedStore
from tests.sample_shards import describe_run, publish


def _run() -> RunInfo:
    """Return a run that looks for duplicates, as builds do."""
    return describe_run("run").model_copy(update={"config": {"duplicates": {}}})


def _commit(store: Any, *indices: int) -> Snapshot:
    snapshot = commit_shards(store, [publish(store, "run", index) for index in indices], _run())
    assert snapshot is not None
    return snapshot


def _ids(store: LocalStore) -> list[str]:
    snapshot = current_snapshot(store)
    batches = iter_manifest(store, snapshot.parts if snapshot else (), ["pair_id"])
    return sorted(pair_id for batch in batches for pair_id in batch[0].to_pylist())


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "data")


def test_one_more_shard_costs_as_many_calls_onto_two_hundred_as_onto_ten(tmp_path: Path) -> None:
    calls = []
    for size in (10, 200):
        store = CountedStore(LocalStore(tmp_path / str(size)))
        _commit(store, *range(size))
        shard = publish(store, "run", size)  # type: ignore[arg-type]
        store.calls.clear()
        assert commit_shards(store, [shard], _run())  # type: ignore[arg-type]
        calls.append(dict(store.calls))
        store.calls.clear()
        committed_pair_ids(store, current_snapshot(store))  # type: ignore[arg-type]
        assert store.calls.total() <= 4
    assert calls[0] == calls[1]
    assert sum(calls[0].values()) <= 20


def test_the_files_stay_few_however_many_commits_there_are(store: LocalStore) -> None:
    for index in range(20):
        snapshot = _commit(store, index)
    assert sum(info.num_rows for info in snapshot.index) == 100
    assert len(snapshot.index) <= 2
    with open_index(store, snapshot) as index:
        assert len(index.files) == len(snapshot.index)
        assert len(index.pair_ids()) == 100
        assert sum(map(len, index.iter_looks())) == snapshot.funnel.pairs_kept


def _delete(store: LocalStore, key: str, _other: bytes) -> None:
    store.delete(key)


def _cut(store: LocalStore, key: str, _other: bytes) -> None:
    store.write(key, store.read(key)[:-200])


def _flip(store: LocalStore, key: str, _other: bytes) -> None:
    data = bytearray(store.read(key))
    data[len(data) // 3] ^= 4
    store.write(key, bytes(data))


def _exchange(store: LocalStore, key: str, other: bytes) -> None:
    store.write(key, other)


@pytest.mark.parametrize("injure", [_delete, _cut, _flip, _exchange])
def test_an_index_that_is_lost_or_damaged_is_named_and_made_anew_from_the_parts(
    store: LocalStore, tmp_path: Path, injure: Callable[[LocalStore, str, bytes], None]
) -> None:
    other = LocalStore(tmp_path / "other")
    others = other.read(_commit(other, 7, 8).index[0].key)
    before = _commit(store, 0, 1)
    (info,) = before.index
    injure(store, info.key, others)
    damage = verify_snapshot(store, before).damage
    assert [(each.check, each.part) for each in damage.listed] == [(Flaw.INDEX, info.key)]
    # A shard that is there is not taken for a new one, and nothing of the other dataset for ours.
    assert commit_shards(store, [publish(store, "run", 0)], _run()) is None
    after = _commit(store, 7)
    assert _ids(store) == sorted(set(_ids(store)))
    assert len(_ids(store)) == 15
    assert sum(each.num_rows for each in after.index) == 15
    assert verify_snapshot(store, after).is_whole


def test_rows_of_parts_that_a_snapshot_lacks_do_not_count(store: LocalStore) -> None:
    first = _commit(store, 0, 1)
    second = _commit(store, 2)
    wrong = first.model_copy(update={"index": second.index})
    assert len(committed_pair_ids(store, wrong)) == 10
    assert verify_snapshot(store, wrong).is_whole
    (only,) = _commit(LocalStore(store.root.parent / "other"), 7).index
    others = (store.root.parent / "other" / only.key).read_bytes()
    store.write(only.key, others)
    wrong = first.model_copy(update={"index": (only,)})
    assert len(committed_pair_ids(store, wrong)) == 10
    assert verify_snapshot(store, wrong).is_whole


def test_a_dataset_of_before_there_was_an_index_gets_one_with_its_next_commit(
    store: LocalStore,
) -> None:
    first = _commit(store, 0, 1)
    old = Snapshot.create(parent=None, runs=first.runs, parts=first.parts)
    store.write(old.key, old.to_bytes())
    store.write("current.json", f'{{"snapshot_id": "{old.snapshot_id}"}}'.encode())
    assert len(committed_pair_ids(store, old)) == 10
    assert commit_shards(store, [publish(store, "run", 1)], _run()) is None
    after = _commit(store, 2)
    assert sum(info.num_rows for info in after.index) == 15


def test_after_a_change_of_rows_and_a_rollback_the_index_speaks_of_the_rows_that_count(
    store: LocalStore,
) -> None:
    before = _commit(store, 0, 1)
    changed = recut(store, {"min_combined": 1.9551}).snapshot
    assert changed is not None
    with open_index(store, changed) as index:
        assert sum(map(len, index.iter_looks())) == 0
        assert index.count_backgrounds() == {}
        assert len(index.pair_ids()) == 10
    assert verify_snapshot(store, changed).is_whole
    roll_back(store, before.snapshot_id)
    after = _commit(store, 2)
    with open_index(store, after) as index:
        assert sum(map(len, index.iter_looks())) == 6
        assert index.count_backgrounds().total() == 6
