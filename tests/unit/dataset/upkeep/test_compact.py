"""Small manifest parts become few: the same rows, whatever else is written meanwhile."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from coupled_core.config import Retention
from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.opened import open_dataset
from coupled_core.dataset.parts import PartInfo, write_manifest_file
from coupled_core.dataset.reader import find_snapshot, iter_manifest, iter_rows
from coupled_core.dataset.rows import Row
from coupled_core.dataset.upkeep import compact as module
from coupled_core.dataset.upkeep.compact import choose_groups, compact
from coupled_core.dataset.upkeep.gc import collect_garbage, plan_gc
from coupled_core.dataset.upkeep.history import diff_snapshots, roll_back
from coupled_core.dataset.upkeep.recut import recut
from coupled_core.dataset.upkeep.regen import find_pair, sample_of
from coupled_core.dataset.upkeep.verify import verify_snapshot
from coupled_core.errors import DatasetError
from coupled_core.report.measurements import read_measurements
from coupled_core.report.selection import find_showable
from coupled_core.storage.local import LocalStore
from tests.counted_store import CountedStore
from tests.sample_shards import describe_run, publish

NUM_SHARDS = 6


def _commit(store: Any, index: int, run: str = "run") -> None:
    assert commit_shards(store, [publish(store, run, index)], describe_run(run))


def _rows(store: Any) -> list[Row]:
    return list(iter_rows(iter_manifest(store, find_snapshot(store).parts)))


def _parts(store: Any) -> tuple[PartInfo, ...]:
    return find_snapshot(store).parts_of("manifest")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six shards of five rows each."""
    folder = tmp_path_factory.mktemp("built")
    store = LocalStore(folder)
    shards = [publish(store, "run", index) for index in range(NUM_SHARDS)]
    assert commit_shards(store, shards, describe_run("run"))
    return folder


@pytest.fixture
def store(built: Path, tmp_path: Path) -> LocalStore:
    """A copy of those."""
    return LocalStore(shutil.copytree(built, tmp_path / "pairs"))


def _assert_whole(store: LocalStore) -> None:
    report = verify_snapshot(store, find_snapshot(store))
    assert report.is_whole, report.damage.listed


def test_all_small_parts_become_one_with_the_same_rows_in_the_same_order(store: LocalStore) -> None:
    before, rows = find_snapshot(store), _rows(store)
    report = compact(store)
    assert (report.num_merged, report.num_written) == (NUM_SHARDS, 1)
    assert len(_parts(store)) == 1
    assert _rows(store) == rows
    after = find_snapshot(store)
    assert (after.runs, after.parent, after.action) == (before.runs, before.snapshot_id, "compact")
    assert after.parts_of("images") == before.parts_of("images")
    difference = diff_snapshots(store, before, after)
    assert (difference.num_added, difference.num_removed, difference.examples) == (0, 0, ())
    _assert_whole(store)


def test_a_merged_part_has_the_bytes_of_its_rows_written_anew(
    store: LocalStore, tmp_path: Path
) -> None:
    written = write_manifest_file(_rows(store), tmp_path, 0)
    compact(store)
    (part,) = _parts(store)
    assert (part.key, part.sha256) == (written.key, written.sha256)


def test_a_second_compaction_finds_nothing_to_do(store: LocalStore) -> None:
    compact(store)
    assert compact(store).snapshot is None


def test_pairs_come_with_their_images_as_before(store: LocalStore) -> None:
    def read() -> list[tuple[str, bytes]]:
        pairs = open_dataset(store.root)
        return [(pair.row["pair_id"], pair.image_0.tobytes()) for pair in pairs]

    before = read()
    compact(store)
    assert read() == before and before


def test_parts_of_two_runs_stay_apart(store: LocalStore) -> None:
    for index in (10, 11):
        _commit(store, index, "other")
    compact(store)
    assert sorted(part.run_id for part in _parts(store)) == ["other", "run"]
    _assert_whole(store)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([5, 5, 5, 5, 5], [[0, 1], [2, 3]]),  # ten rows a part
        ([5, 5, 6, 5, 5], [[0, 1], [3, 4]]),  # more than half: it stays, and parts them
        ([5, 6, 5, 6, 5], []),
        ([1] * 12, [list(range(10)), [10, 11]]),
    ],
)
def test_groups_are_neighbours_with_at_most_so_many_rows(
    sizes: list[int], expected: list[list[int]]
) -> None:
    parts = [
        PartInfo(
            key=f"manifest/part-{index:05d}-0.parquet", kind="manifest", num_rows=size,
            size_bytes=1, sha256="", shard_index=index, etag="", run_id="run",
        )
        for index, size in enumerate(sizes)
    ]  # fmt: skip
    found = choose_groups(reversed(parts), max_rows=10)
    assert [[part.shard_index for part in group] for group in found] == expected


def test_a_shard_that_a_build_commits_meanwhile_is_there_and_nothing_is_merged_twice(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged: list[str] = []

    class Overtaken(LocalStore):
        num_rivals = 2

        def write_if_match(self, key: str, data: bytes, etag: str) -> str:
            if b"compact" in data and self.num_rivals:
                self.num_rivals -= 1
                _commit(LocalStore(self.root), 20 - self.num_rivals)
            return super().write_if_match(key, data, etag)

    read = module.read_whole_part

    def noted(store: Any, part: PartInfo, columns: Any) -> Any:
        merged.append(part.key)
        return read(store, part, columns)

    monkeypatch.setattr(module, "read_whole_part", noted)
    report = compact(Overtaken(store.root))
    assert len({row["pair_id"] for row in _rows(store)}) == 5 * (NUM_SHARDS + 2)
    # The first six as one; the rivals' two as another, when both were there.
    assert (report.num_merged, report.num_written) == (NUM_SHARDS + 2, 2)
    assert len(merged) == len(set(merged)) == NUM_SHARDS + 2
    _assert_whole(store)


def test_a_recut_meanwhile_is_not_undone(store: LocalStore) -> None:
    class Overtaken(LocalStore):
        has_rival = True

        def write_if_match(self, key: str, data: bytes, etag: str) -> str:
            if b"compact" in data and self.has_rival:
                self.has_rival = False
                recut(LocalStore(self.root), {"min_combined": 1.9551})
            return super().write_if_match(key, data, etag)

    compact(Overtaken(store.root))
    assert len(_parts(store)) == 1
    assert not any(row["kept"] for row in _rows(store))
    _assert_whole(store)


def test_a_shard_whose_rows_are_in_a_merged_part_is_not_committed_again(store: LocalStore) -> None:
    compact(store)
    assert commit_shards(store, [publish(store, "run", 3)], describe_run("run")) is None


def test_a_commit_costs_no_more_requests_after_a_compaction(store: LocalStore) -> None:
    counted = CountedStore(store)

    def count(index: int) -> int:
        shard = publish(store, "run", index)
        counted.calls.clear()
        commit_shards(counted, [shard], describe_run("run"))  # type: ignore[arg-type]
        return counted.calls.total()

    count(20)  # which tries what the store promises
    before = count(21)
    compact(store)
    assert count(22) <= before


def test_small_parts_go_when_no_snapshot_names_them(store: LocalStore) -> None:
    rows = _rows(store)
    compact(store)
    roll_back(store, "previous")
    assert (_rows(store), len(_parts(store))) == (rows, NUM_SHARDS)
    roll_back(store, "previous")
    _commit(store, 9)  # else the way back would keep them
    later = find_snapshot(store).created_at.replace(year=find_snapshot(store).created_at.year + 1)
    collect_garbage(store, plan_gc(store, Retention(keep_snapshots=1), later))
    left = {info.key for info in store.list("manifest/")}
    assert left == {part.key for part in _parts(store)}
    assert len(left) == 2
    _assert_whole(store)


def test_a_damaged_part_is_not_written_anew(store: LocalStore) -> None:
    part = _parts(store)[2]
    data = bytearray(store.read(part.key))
    data[len(data) // 2] ^= 1
    store.write(part.key, bytes(data))
    with pytest.raises(DatasetError, match=part.key):
        compact(store)


def test_a_pair_of_any_shard_is_found_with_its_sample(store: LocalStore) -> None:
    wanted = _rows(store)[-5]
    before = sample_of(store, find_snapshot(store), wanted)
    compact(store)
    row, _ = find_pair(store, find_snapshot(store), wanted["pair_id"])
    assert sample_of(store, find_snapshot(store), row) == before


def test_images_that_wait_in_the_work_of_a_shard_are_shown_with_its_rows_alone(
    store: LocalStore,
) -> None:
    def has_work(run_id: str, shard_index: int) -> bool:
        return (run_id, shard_index) == ("run", 3)

    def show() -> list[bool]:
        snapshot = find_snapshot(store)
        return find_showable(read_measurements(store, snapshot), snapshot, has_work).tolist()

    before = show()
    compact(store)
    assert show() == before
    assert sum(before) == 2 * NUM_SHARDS + 1
