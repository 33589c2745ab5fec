"""The stored items of a run: what was planned comes back, and what is damaged is named."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from coupled_core.errors import StorageError
from coupled_core.records import QuarantinedRow
from coupled_core.runs.plan import cut_shards
from coupled_core.runs.planned import PlanFiles, ShardInput
from coupled_core.storage.local import LocalStore
from tests.unit.runs.shard_samples import NAMING, RUN, make_group

BAD = QuarantinedRow("set.parquet", 7, None, "column prompts: got null")


def _write(store: LocalStore, num_groups: int, shard_size: int) -> list[ShardInput]:
    groups = [make_group(n, 2 + n % 2, num_seeds=1 + n % 3) for n in range(num_groups)]
    shards = cut_shards([*groups, BAD], shard_size, NAMING)
    return list(PlanFiles(store, RUN, shard_size).write(shards))


@pytest.mark.parametrize("shard_size", [1, 4, 2048, 100_000])
def test_shards_come_back_as_they_were_planned(tmp_path: Path, shard_size: int) -> None:
    store = LocalStore(tmp_path)
    made = _write(store, 5000 if shard_size > 4 else 9, shard_size)
    files = PlanFiles(store, RUN, shard_size)
    assert files.is_complete
    assert list(files.read()) == made
    assert [files.read_shard(n) for n in range(len(made))][-3:] == made[-3:]
    assert made[-1].bad_rows[0].row == BAD


def test_unknown_columns_come_back_as_json(tmp_path: Path) -> None:
    store, when = LocalStore(tmp_path), datetime(2026, 1, 2, tzinfo=UTC)
    group = make_group(0, extra={"weight": 1.5, "when": when, "tags": ["a"]})
    list(PlanFiles(store, RUN, 4).write(cut_shards([group], 4, NAMING)))
    (planned,) = PlanFiles(store, RUN, 4).read_shard(0).groups
    assert planned.group.extra == {"weight": 1.5, "when": str(when), "tags": ["a"]}


def test_a_plan_without_its_marker_counts_as_not_written(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    shards = cut_shards([make_group(n) for n in range(4)], 2, NAMING)
    writing = PlanFiles(store, RUN, 2).write(shards)
    next(writing)
    writing.close()
    assert not PlanFiles(store, RUN, 2).is_complete
    assert list(store.list("")) == []


@pytest.mark.parametrize(("damage", "words"), [(None, "is missing"), (b"PAR1", "is damaged")])
def test_a_file_that_is_gone_or_damaged_is_named_with_the_remedy(
    tmp_path: Path, damage: bytes | None, words: str
) -> None:
    store = LocalStore(tmp_path)
    _write(store, 3, 2)
    key = f"work/{RUN}/plan/00000.parquet"
    if damage is None:
        store.delete(key)
    else:
        store.write(key, damage)
    with pytest.raises(StorageError, match=rf"00000.parquet {words}: delete .*plan.json"):
        PlanFiles(store, RUN, 2).read_shard(0)


def test_planning_again_writes_the_same_bytes(tmp_path: Path) -> None:
    first, second = LocalStore(tmp_path / "a"), LocalStore(tmp_path / "b")
    key = f"work/{RUN}/plan/00000.parquet"
    _write(first, 9, 4)
    _write(second, 9, 4)
    assert first.read(key) == second.read(key)


def test_a_plan_that_is_used_again_looks_new_to_a_collection_of_garbage(tmp_path: Path) -> None:
    store, marker = LocalStore(tmp_path), f"work/{RUN}/plan.json"
    _write(store, 3, 2)
    os.utime(tmp_path / marker, (0, 0))
    PlanFiles(store, RUN, 2).refresh()
    assert store.stat(marker).modified_at > datetime(2026, 1, 1, tzinfo=UTC)
    assert PlanFiles(store, RUN, 2).is_complete
