"""A snapshot file is what its name says, or is refused."""

import json

import pytest

from coupled_core.dataset.snapshot import Snapshot
from coupled_core.errors import DatasetError
from coupled_core.storage.local import LocalStore
from tests.sample_shards import describe_run, publish


@pytest.fixture
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    shard = publish(LocalStore(tmp_path_factory.mktemp("data")), "run", 0)
    run = describe_run("run").model_copy(update={"funnel": shard.funnel, "partition_rule": "2"})
    return Snapshot.create(parent=None, runs=(run,), parts=shard.parts[::-1])


def test_a_snapshot_is_read_as_it_was_written(snapshot: Snapshot) -> None:
    assert Snapshot.from_bytes(snapshot.to_bytes(), snapshot.snapshot_id) == snapshot
    assert [part.kind for part in snapshot.parts] == ["images", "manifest"]  # by key


def test_a_changed_file_does_not_fit_its_name(snapshot: Snapshot) -> None:
    changed = snapshot.to_bytes().replace(b'"pairs_kept": 2', b'"pairs_kept": 3')
    with pytest.raises(DatasetError, match=f"{snapshot.snapshot_id} is damaged .*checksum"):
        Snapshot.from_bytes(changed, snapshot.snapshot_id)


def test_what_somebody_adds_to_a_file_does_not_fit_its_name() -> None:
    later = Snapshot.create(parent=None, runs=(), parts=())
    plain = json.loads(later.to_bytes())
    assert "weather" not in plain
    with pytest.raises(DatasetError, match="checksum"):
        Snapshot.from_bytes(json.dumps({**plain, "weather": "fair"}).encode(), later.snapshot_id)


def test_the_run_of_a_part_is_found_or_the_snapshot_is_refused(snapshot: Snapshot) -> None:
    part = snapshot.parts[0]
    assert snapshot.run_of(part).run_id == "run"
    stray = part.model_copy(update={"run_id": "nobody"})
    with pytest.raises(DatasetError, match=f"names no run nobody, of its part {part.key}"):
        snapshot.run_of(stray)
