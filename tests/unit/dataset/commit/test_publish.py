"""A change is published on top of what is current, however often a rival is faster."""

from pathlib import Path

import pytest

from coupled_core.dataset.commit import publish
from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.commit.publish import publish_rebased
from coupled_core.dataset.reader import current_snapshot
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.errors import ConflictError, DatasetError
from coupled_core.storage.local import LocalStore
from tests.sample_shards import describe_run
from tests.sample_shards import publish as upload


class Contested(LocalStore):
    """A store on which a rival is faster than the first `num_rivals` of our moves."""

    num_rivals = 0

    def write_if_match(self, key: str, data: bytes, etag: str) -> str:
        if key == "current.json" and self.num_rivals:
            self.num_rivals -= 1
            _add(LocalStore(self.root), 10 + self.num_rivals)
        return super().write_if_match(key, data, etag)


def _add(store: LocalStore, index: int) -> Snapshot:
    run = f"run-{index}"
    snapshot = commit_shards(store, [upload(store, run, index)], describe_run(run))
    assert snapshot is not None
    return snapshot


def _rename(base: Snapshot | None) -> Snapshot | None:
    """Return the same parts under another action."""
    assert base is not None
    return Snapshot.create(
        parent=base.snapshot_id, runs=base.runs, parts=base.parts, action="renamed"
    )


@pytest.fixture
def store(tmp_path: Path) -> Contested:
    store = Contested(tmp_path)
    _add(store, 0)
    return store


def test_a_change_follows_what_rivals_have_made_of_the_dataset(store: Contested) -> None:
    store.num_rivals = 3
    snapshot = publish_rebased(store, _rename, "rename", single_writer=False)
    assert snapshot is not None and snapshot == current_snapshot(store)
    assert snapshot.run_ids == ("run-0", "run-12", "run-11", "run-10")
    files = {info.key for info in store.list("snapshots/")}
    assert len(files) == 5  # three lost attempts have left nothing


def test_where_nothing_is_to_change_nothing_is_written(store: Contested) -> None:
    before = {info.key: store.read(info.key) for info in store.list("")}
    assert publish_rebased(store, lambda _base: None, "change", single_writer=True) is None
    assert {info.key: store.read(info.key) for info in store.list("")} == before


def test_who_loses_every_attempt_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hopeless(LocalStore):
        def write_if_match(self, key: str, data: bytes, etag: str) -> str:
            raise ConflictError("a rival was faster")

    _add(LocalStore(tmp_path), 0)
    monkeypatch.setattr(publish.time, "sleep", lambda _seconds: None)
    with pytest.raises(DatasetError, match=r"could not rename it: other writers won 50 times"):
        publish_rebased(Hopeless(tmp_path), _rename, "rename it", single_writer=True)


def test_who_dies_before_the_snapshot_is_there_leaves_readers_what_they_had(
    store: Contested,
) -> None:
    class Dying(LocalStore):
        def write_if_absent(self, key: str, data: bytes) -> str:
            if key.startswith("snapshots/"):
                raise KeyboardInterrupt
            return super().write_if_absent(key, data)

    before = current_snapshot(store)
    with pytest.raises(KeyboardInterrupt):
        publish_rebased(Dying(store.root), _rename, "rename", single_writer=False)
    assert current_snapshot(store) == before
