"""Datasets of schema version 1 are read, verified, grown and rewritten under the present names."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from coupled_core.config import fingerprint
from coupled_core.dataset import columns
from coupled_core.dataset.columns import MANIFEST_SCHEMA
from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.parts import PartInfo
from coupled_core.dataset.query import open_query
from coupled_core.dataset.reader import current_snapshot, iter_manifest, iter_rows
from coupled_core.dataset.snapshot import Snapshot, snapshot_key
from coupled_core.dataset.upkeep.compact import compact
from coupled_core.dataset.upkeep.partition import repartition
from coupled_core.dataset.upkeep.recut import recut
from coupled_core.dataset.upkeep.verify import verify_snapshot
from coupled_core.errors import DatasetError
from coupled_core.export.plan import Selection, iter_windows
from coupled_core.storage.local import LocalStore
from tests.sample_shards import describe_run, publish


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """A dataset as version 1 wrote it: a column split, no batch_size, runs with a split_rule."""
    store = LocalStore(tmp_path)
    run = describe_run("run").model_copy(update={"partition_rule": "2"})
    snapshot = commit_shards(store, [publish(store, "run", 0)], run)
    assert snapshot is not None
    plain = snapshot.model_dump(mode="json", exclude={"snapshot_id"})
    plain["schema_version"] = "1.0"
    del plain["runs"][0]["inputs"][0]["unknown_columns"]
    plain["runs"][0]["split_rule"] = plain["runs"][0].pop("partition_rule")
    plain["parts"] = [_write_old(store, part) for part in snapshot.parts]
    name = f"{snapshot.created_at:%Y%m%dT%H%M%SZ}-{fingerprint(plain)[:12]}"
    store.write(snapshot_key(name), json.dumps({**plain, "snapshot_id": name}).encode())
    store.write("current.json", json.dumps({"snapshot_id": name}).encode())
    return store


def _write_old(store: LocalStore, part: PartInfo) -> dict[str, Any]:
    if part.kind == "manifest":
        path = store.root / part.key
        table = pq.read_table(path)
        names = ["split" if name == "partition" else name for name in table.column_names]
        old = table.rename_columns(names).replace_schema_metadata({"schema_version": "1.0"})
        old = old.drop_columns("batch_size")
        pq.write_table(old, path, write_page_checksum=True)
        info = store.stat(part.key)
        part = part.model_copy(
            update={"sha256": info.etag, "etag": info.etag, "size_bytes": info.size_bytes}
        )
    return part.model_dump(mode="json")


def _current(store: LocalStore) -> Snapshot:
    snapshot = current_snapshot(store)
    assert snapshot is not None
    return snapshot


def _partitions(store: LocalStore) -> list[str | None]:
    rows = iter_rows(iter_manifest(store, _current(store).parts, ["pair_id", "partition"]))
    return [row["partition"] for row in rows]


OLD_ROWS = ["train", "train", "train", None, None]
"""Three scored pairs, a failed and a quarantined row."""


def test_an_old_column_is_read_under_its_present_name(store: LocalStore) -> None:
    part = _current(store).parts_of("manifest")[0]
    assert "partition" not in pq.read_schema(store.root / part.key).names
    assert _partitions(store) == OLD_ROWS
    whole = next(iter_manifest(store, [part]))
    assert whole.schema.equals(MANIFEST_SCHEMA)
    assert whole["partition"].to_pylist() == OLD_ROWS


def test_an_old_runs_rule_is_read_under_its_present_name(store: LocalStore) -> None:
    assert [run.partition_rule for run in _current(store).runs] == ["2"]


def test_an_old_runs_unknown_columns_are_not_known(store: LocalStore) -> None:
    assert [file.unknown_columns for file in _current(store).runs[0].inputs] == [None]


def test_an_old_dataset_verifies_and_is_selected_from(store: LocalStore) -> None:
    snapshot = _current(store)
    assert verify_snapshot(store, snapshot).damage.listed == []
    (window,) = iter_windows(store, snapshot, Selection(("train",)))
    assert len(window) == 2
    assert list(iter_windows(store, snapshot, Selection(("val", "test")))) == []


def test_new_parts_stand_beside_old_ones(store: LocalStore) -> None:
    run = describe_run("new").model_copy(update={"partition_rule": "2"})
    snapshot = commit_shards(store, [publish(store, "new", 1)], run)
    assert snapshot is not None and snapshot.schema_version == "2.4"
    assert verify_snapshot(store, snapshot).damage.listed == []
    assert _partitions(store) == OLD_ROWS * 2


def test_a_rewrite_gives_rows_their_present_names(store: LocalStore) -> None:
    snapshot = recut(store, {"min_combined": 1.9551}).snapshot
    assert snapshot is not None
    stored = pq.read_table(store.root / snapshot.parts_of("manifest")[0].key)
    assert stored.schema.equals(MANIFEST_SCHEMA)
    assert stored["partition"].to_pylist() == OLD_ROWS
    assert json.loads(snapshot.to_bytes())["runs"][0]["partition_rule"] == "2"
    assert verify_snapshot(store, snapshot).damage.listed == []


@pytest.mark.parametrize("change", [compact, lambda store: recut(store, {"min_combined": 1.9551})])
def test_rows_of_a_newer_version_are_not_written_anew_without_its_columns(
    store: LocalStore, change: Callable[[LocalStore], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = describe_run("new").model_copy(update={"partition_rule": "2"})
    assert commit_shards(store, [publish(store, "new", 1)], run)
    before = _current(store)
    monkeypatch.setattr(columns, "SCHEMA_VERSION", "2.3")
    with pytest.raises(DatasetError, match=r"2\.4, this package writes 2\.3: .*; update it"):
        change(store)
    assert _current(store) == before


def test_old_rows_that_the_present_rule_leaves_in_place_are_not_rewritten(
    store: LocalStore,
) -> None:
    assert repartition(store).snapshot is None


def test_version_1_refuses_what_this_version_writes(store: LocalStore) -> None:
    """It compared the digit before the dot with its own, of snapshots that it was to read."""
    run = describe_run("new").model_copy(update={"partition_rule": "2"})
    snapshot = commit_shards(store, [publish(store, "new", 1)], run)
    assert snapshot is not None
    assert json.loads(store.read(snapshot.key))["schema_version"].partition(".")[0] != "1"


def test_a_damaged_name_does_not_pass_for_an_old_one(store: LocalStore) -> None:
    part = _current(store).parts_of("manifest")[0]
    path = store.root / part.key
    table = pq.read_table(path)
    names = ["splat" if name == "split" else name for name in table.column_names]
    pq.write_table(table.rename_columns(names), path)
    part = part.model_copy(update={"size_bytes": path.stat().st_size})
    message = r"has columns \['splat'\] and lacks \['batch_size', 'partition'\]"
    with pytest.raises(DatasetError, match=message):
        list(iter_manifest(store, [part]))


def test_sql_finds_an_old_column_under_its_present_name(store: LocalStore) -> None:
    with open_query(store, _current(store), "select partition from manifest") as result:
        assert result.batches().read_all()["partition"].to_pylist() == OLD_ROWS
