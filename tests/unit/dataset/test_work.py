"""Progress of an unfinished shard is either there whole or not there."""

from pathlib import Path

import pyarrow as pa
import pytest

from coupled_core.dataset.work import (
    DONE,
    WorkFolder,
    find_kin,
    join_kin,
    list_work,
    parse_work_key,
)
from coupled_core.errors import StorageError
from coupled_core.storage.local import LocalStore


@pytest.fixture
def work(tmp_path: Path) -> WorkFolder:
    return WorkFolder(LocalStore(tmp_path), "run", 7)


def test_what_a_stage_stored_is_found_again(work: WorkFolder) -> None:
    table = pa.table({"key": ["a"], "image": pa.array([b"\x89PNG"], pa.binary())})
    work.write_table("generated", 2, table)
    work.write_table("generated", 0, table)
    work.write_json("split.json", [{"a": None}])
    assert work.batches("generated") == [0, 2]
    assert work.batches("scored") == []
    found = work.read_table("generated", 2)
    assert found is not None
    assert found.equals(table)
    assert work.read_json("split.json") == [{"a": None}]


def test_what_is_not_there_yet_is_none(work: WorkFolder) -> None:
    assert work.read_table("generated", 0) is None
    assert work.read_json("split.json") is None
    assert work.read_done() is None


def test_a_damaged_object_is_named(work: WorkFolder, tmp_path: Path) -> None:
    folder = tmp_path / work.prefix
    (folder / "generated").mkdir(parents=True)
    (folder / "split.json").write_text("{")
    (folder / "generated" / "batch-00000.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(StorageError, match=r"split\.json is damaged"):
        work.read_json("split.json")
    with pytest.raises(StorageError, match=r"batch-00000\.parquet is damaged"):
        work.read_table("generated", 0)


def test_the_work_of_a_run_is_listed_by_shard_and_name(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for run_id, shard_index in (("run", 3), ("run", 123_456), ("runner", 4)):
        work = WorkFolder(store, run_id, shard_index)
        work.write_table("generated", 100_000, pa.table({"key": ["a"]}))
        work.write_done({})
        assert work.batches("generated") == [100_000]
    store.write("work/run/plan/00000.parquet", b"the run's, no shard's")
    assert list(list_work(store, "run")) == [
        (3, DONE),
        (3, "generated/batch-100000.parquet"),
        (123_456, DONE),
        (123_456, "generated/batch-100000.parquet"),
    ]


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("work/run/00007/done.json", ("run", 7, "done.json")),
        ("work/run/123456/scored/b.parquet", ("run", 123_456, "scored/b.parquet")),
        ("work/run/plan/00000.parquet", ("run", None, "plan/00000.parquet")),
        ("work/run/plan.json", ("run", None, "plan.json")),
        ("work/probe-0123", None),
    ],
)
def test_a_key_says_whose_work_an_object_is(
    key: str, found: tuple[str, int | None, str] | None
) -> None:
    assert parse_work_key(key) == found


def test_runs_that_make_the_same_images_find_each_other(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    for run in ("b", "a"):
        join_kin(store, "same", run)
    join_kin(store, "other", "c")
    assert find_kin(store, "same", "a") == ("b",)
    assert find_kin(store, "same", "d") == ("a", "b")
