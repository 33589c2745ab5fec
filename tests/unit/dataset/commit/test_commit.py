"""Commits: nothing is visible before, everything after, and no writer loses rows to another."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.commit.upload import UploadedShard
from coupled_core.dataset.reader import current_snapshot, iter_history, iter_manifest
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.errors import ConflictError, DatasetError
from coupled_core.storage.local import LocalStore
from coupled_core.storage.store import ObjectStore
from tests.sample_shards import describe_run, publish
from tests.stored_images import iter_images


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "data")


def _pair_ids(store: ObjectStore) -> list[str]:
    snapshot = current_snapshot(store)
    parts = snapshot.parts if snapshot else ()
    batches = iter_manifest(store, parts, ["pair_id"])
    return [pair_id for batch in batches for pair_id in batch["pair_id"].to_pylist()]


def test_nothing_is_visible_before_the_commit_and_everything_after(store: LocalStore) -> None:
    shards = [publish(store, "run", index) for index in range(2)]
    assert current_snapshot(store) is None
    snapshot = commit_shards(store, shards, describe_run("run"))
    assert snapshot == current_snapshot(store)
    assert snapshot is not None
    assert snapshot.funnel == shards[0].funnel + shards[1].funnel
    assert len(_pair_ids(store)) == 10
    images = iter_images(store, snapshot.parts, batch_rows=1)
    assert sum(batch.num_rows for batch in images) == snapshot.funnel.pairs_kept == 4


def test_a_snapshot_that_no_pointer_names_is_not_visible(store: LocalStore) -> None:
    shard = publish(store, "run", 0)
    snapshot = Snapshot.create(parent=None, runs=(describe_run("run"),), parts=shard.parts)
    store.write(snapshot.key, snapshot.to_bytes())
    assert current_snapshot(store) is None


def test_the_same_commit_again_changes_nothing(store: LocalStore) -> None:
    shards = [publish(store, "run", 0)]
    first = commit_shards(store, shards, describe_run("run"))
    assert commit_shards(store, shards, describe_run("run")) is None
    assert current_snapshot(store) == first


def test_a_later_run_adds_to_the_snapshot_before_it(store: LocalStore) -> None:
    first = commit_shards(store, [publish(store, "run-a", 0)], describe_run("run-a"))
    second = commit_shards(store, [publish(store, "run-b", 1)], describe_run("run-b"))
    assert first is not None
    assert second is not None
    assert (second.parent, second.run_ids) == (first.snapshot_id, ("run-a", "run-b"))
    assert set(first.parts) < set(second.parts)
    assert [each.snapshot_id for each in iter_history(store)] == [
        second.snapshot_id,
        first.snapshot_id,
    ]


def test_a_run_that_commits_twice_is_counted_once(store: LocalStore) -> None:
    shards = [publish(store, "run", index) for index in range(2)]
    for shard in shards:
        snapshot = commit_shards(store, [shard], describe_run("run"))
    assert snapshot is not None
    assert snapshot.run_ids == ("run",)
    assert snapshot.runs[0].funnel == shards[0].funnel + shards[1].funnel


class _Overtaken(LocalStore):
    """A store on which another writer commits just before our pointer is moved, once."""

    rival: UploadedShard | None = None

    def write_if_absent(self, key: str, data: bytes) -> str:
        if key == "current.json" and self.rival:
            rival, self.rival = self.rival, None
            other = LocalStore(self.root)
            assert commit_shards(other, [rival], describe_run(rival.run_id))
        return super().write_if_absent(key, data)


def test_a_commit_that_lost_is_rebased_on_the_winner(tmp_path: Path) -> None:
    store = _Overtaken(tmp_path)
    store.rival = publish(store, "rival", 5)
    snapshot = commit_shards(store, [publish(store, "run", 0)], describe_run("run"))
    assert snapshot is not None
    assert snapshot.run_ids == ("rival", "run")
    assert len(set(_pair_ids(store))) == 10


def test_a_twin_that_lost_commits_nothing(tmp_path: Path) -> None:
    store = _Overtaken(tmp_path)
    store.rival = publish(store, "run", 0)
    assert commit_shards(store, [store.rival], describe_run("run")) is None
    assert len(_pair_ids(store)) == 5


def test_of_overlapping_runs_the_loser_adds_only_what_is_new(tmp_path: Path) -> None:
    store = _Overtaken(tmp_path)
    store.rival = publish(store, "rival", 0, num_kept=1, num_dropped=0)
    ours = publish(store, "run", 0, num_kept=3)
    snapshot = commit_shards(store, [ours], describe_run("run"))
    assert snapshot is not None
    ids = _pair_ids(store)
    assert len(ids) == len(set(ids)) == 6
    assert [run.funnel.pairs_kept for run in snapshot.runs] == [1, 2]
    rows = [row for b in iter_manifest(store, snapshot.parts) for row in b.to_pylist()]
    places = {row["pair_id"]: (row["image_part"], row["image_row"]) for row in rows if row["kept"]}
    for part in snapshot.parts_of("images"):
        found = [row for batch in iter_images(store, [part]) for row in batch.to_pylist()]
        for index, image in enumerate(found):
            assert places.pop(image["pair_id"]) == (part.key, index)
    assert places == {}


class _RolledBack(_Overtaken):
    """A store on which the rival's commit is taken back again before our second attempt."""

    def write_if_match(self, key: str, data: bytes, etag: str) -> str:
        if key == "current.json":
            self.delete(key)
        return super().write_if_match(key, data, etag)


def test_pairs_that_a_rollback_took_away_are_committed_after_all(tmp_path: Path) -> None:
    store = _RolledBack(tmp_path)
    shards = [publish(store, "run", index) for index in range(2)]
    store.rival = shards[0]
    assert commit_shards(store, shards, describe_run("run"))
    assert len(set(_pair_ids(store))) == len(_pair_ids(store)) == 10


class _LostAnswer(LocalStore):
    """A store whose answers to the first writes are lost, so that the client repeats them."""

    lose = True

    def write_if_absent(self, key: str, data: bytes) -> str:
        etag = super().write_if_absent(key, data)
        if self.lose and not key.startswith("work/"):
            self.lose = key != "current.json"
            raise ConflictError("met its own first copy")
        return etag


def test_a_commit_whose_answers_were_lost_is_not_repeated(tmp_path: Path) -> None:
    store = _LostAnswer(tmp_path)
    snapshot = commit_shards(store, [publish(store, "run", 0)], describe_run("run"))
    assert snapshot == current_snapshot(store)
    assert len(list(store.list("snapshots/"))) == 1


def test_of_many_committing_threads_all_survive(store: LocalStore) -> None:
    shards = [publish(store, f"run-{index}", index) for index in range(6)]
    threads = [
        threading.Thread(target=commit_shards, args=(store, [shard], describe_run(shard.run_id)))
        for shard in shards
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(_pair_ids(store))) == len(_pair_ids(store)) == 30


_COMMIT = """
import sys
from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.commit.upload import UploadedShard
from coupled_core.storage.open_store import open_store
from tests.sample_shards import describe_run
shard = UploadedShard.model_validate_json(sys.argv[2])
sys.stdin.readline()
print(commit_shards(open_store(sys.argv[1]), [shard], describe_run(shard.run_id)) is not None)
"""


def test_of_committing_processes_all_survive_and_a_twin_adds_nothing(store: LocalStore) -> None:
    shards = [publish(store, "run-a", 0), publish(store, "run-b", 1)]
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", _COMMIT, store.uri, shard.model_dump_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for shard in [*shards, shards[0]]
    ]
    answers = [racer.communicate("go\n", timeout=60)[0].strip() for racer in racers]
    assert sorted(answers) == ["False", "True", "True"]
    assert len(set(_pair_ids(store))) == len(_pair_ids(store)) == 10


def test_a_truncated_part_is_found_before_anything_is_visible(store: LocalStore) -> None:
    shard = publish(store, "run", 0)
    part = shard.parts[1]
    store.write(part.key, store.read(part.key)[:-100])
    with pytest.raises(DatasetError, match=f"{part.key} has {part.size_bytes - 100} bytes"):
        commit_shards(store, [shard], describe_run("run"))
    assert current_snapshot(store) is None


def test_a_deleted_part_is_found_before_anything_is_visible(store: LocalStore) -> None:
    shard = publish(store, "run", 0)
    store.delete(shard.parts[0].key)
    with pytest.raises(DatasetError, match=f"{shard.parts[0].key} is missing"):
        commit_shards(store, [shard], describe_run("run"))
    assert current_snapshot(store) is None


def test_a_pointer_to_a_missing_snapshot_is_named(store: LocalStore) -> None:
    store.write("current.json", json.dumps({"snapshot_id": "20261123T000000Z-abc"}).encode())
    with pytest.raises(DatasetError, match=r"snapshot 20261123T000000Z-abc of .* is missing"):
        current_snapshot(store)


def test_a_damaged_pointer_is_named(store: LocalStore) -> None:
    store.write("current.json", b'{"snapshot')
    with pytest.raises(DatasetError, match=r"current\.json is damaged"):
        commit_shards(store, [publish(store, "run", 0)], describe_run("run"))


def test_a_missing_part_of_a_snapshot_is_named_to_the_reader(store: LocalStore) -> None:
    snapshot = commit_shards(store, [publish(store, "run", 0)], describe_run("run"))
    assert snapshot is not None
    store.delete(snapshot.parts_of("manifest")[0].key)
    with pytest.raises(DatasetError, match=r"manifest/part-.* is missing"):
        _pair_ids(store)
