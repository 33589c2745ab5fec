"""What a dataset stores is read as what it is, or refused by an error of ours."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.commit.upload import read_uploaded
from coupled_core.dataset.pointer import read_pointer
from coupled_core.dataset.reader import current_snapshot, iter_manifest
from coupled_core.dataset.snapshot import Snapshot, _content_sha256
from coupled_core.dataset.upkeep.review import DROP, FORMAT, parse_decisions
from coupled_core.dataset.work import GENERATED, WorkFolder
from coupled_core.errors import ConfigError, CoupledError, DatasetError, StorageError
from coupled_core.runs.checkpoints import read_splits
from coupled_core.runs.planned import PlanFiles
from coupled_core.storage.local import LocalStore
from tests.properties.search import changed, ends_in, json_bytes, search, values
from tests.sample_shards import describe_run, publish

POINTER = {"snapshot_id": "a", "previous": "b", "removing": ["c"], "move_id": "d"}
DECISIONS = {
    "format": FORMAT,
    "dataset": "pairs",
    "snapshot_id": "a",
    "decisions": {"0" * 32: DROP},
}
SPLITS = {
    "outcomes": [
        {"rejected": {"reason": "split_failed", "message": "no", "llm_cost_usd": 0.0}},
    ]
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    made = LocalStore(tmp_path_factory.mktemp("dataset"))
    commit_shards(made, [publish(made, "run", 0)], describe_run("run"))
    return made


@pytest.fixture(scope="module")
def snapshot(store: LocalStore) -> dict[str, Any]:
    found = current_snapshot(store)
    assert found is not None
    return found.model_dump(mode="json")


@search
@given(data=json_bytes(changed(POINTER) | values))
def test_a_pointer_is_read_or_named(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = LocalStore(_folder(tmp_path_factory, "pointer"))
    folder.write("current.json", data)
    ends_in(lambda: read_pointer(folder), DatasetError)


@search
@given(data=st.data())
def test_a_snapshot_is_read_or_named_even_where_its_checksum_fits(
    snapshot: dict[str, Any], data: st.DataObject
) -> None:
    plain = data.draw(changed(snapshot))
    name = "20261126T000000Z-000000000000"
    if isinstance(plain, dict):
        name = f"{name[:17]}{_content_sha256(plain)[:12]}"
    ends_in(lambda: Snapshot.from_bytes(json.dumps(plain).encode(), name), DatasetError)


@search
@given(data=json_bytes(changed(DECISIONS) | values))
def test_decisions_are_read_or_named(data: bytes) -> None:
    ends_in(lambda: parse_decisions(data, "decisions.json"), ConfigError)


@search
@given(data=json_bytes(changed(SPLITS) | values))
def test_the_work_of_a_shard_is_read_or_named(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = LocalStore(_folder(tmp_path_factory, "work"))
    work = WorkFolder(folder, "run", 0)
    for name in ("split.json", "done.json"):
        folder.write(work.prefix + name, data)
    folder.write("work/run/plan.json", data)
    ends_in(lambda: read_splits(work), StorageError)
    ends_in(lambda: read_uploaded(work), StorageError)
    ends_in(lambda: list(PlanFiles(folder, "run", 16).read()), StorageError)


_TYPES = st.sampled_from(
    [pa.string(), pa.int32(), pa.float64(), pa.bool_(), pa.binary(), pa.list_(pa.string())]
)


@search
@given(types=st.lists(_TYPES, max_size=2), name=st.sampled_from(["key", "item", "images", "x"]))
def test_a_table_of_other_columns_is_named(
    tmp_path_factory: pytest.TempPathFactory, types: list[pa.DataType], name: str
) -> None:
    folder = LocalStore(_folder(tmp_path_factory, "table"))
    columns = {f"{name}{n or ''}": pa.nulls(2, kind) for n, kind in enumerate(types)}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    work = WorkFolder(folder, "run", 0)
    folder.write(f"{work.prefix}{GENERATED}/batch-00000.parquet", buffer.getvalue())
    folder.write("work/run/plan/00000.parquet", buffer.getvalue())
    ends_in(lambda: work.read_keys(GENERATED, 0), StorageError)
    ends_in(lambda: PlanFiles(folder, "run", 16).read_shard(0), StorageError)


@search
@given(place=st.integers(0, 10**6), mask=st.integers(1, 255))
def test_a_manifest_with_a_damaged_byte_is_read_or_named(
    store: LocalStore, tmp_path_factory: pytest.TempPathFactory, place: int, mask: int
) -> None:
    found = current_snapshot(store)
    assert found is not None
    (part,) = found.parts_of("manifest")
    data = bytearray(store.read(part.key))
    data[place % len(data)] ^= mask
    folder = LocalStore(_folder(tmp_path_factory, "manifest"))
    folder.write(part.key, bytes(data))
    ends_in(lambda: list(iter_manifest(folder, [part])), CoupledError)


def _folder(factory: pytest.TempPathFactory, name: str) -> Path:
    """Return one folder for all examples of a test."""
    folder = factory.getbasetemp() / f"properties-{name}"
    folder.mkdir(exist_ok=True)
    return folder
