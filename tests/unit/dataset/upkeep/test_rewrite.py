"""Changed rows become a snapshot: what changed is counted, on top of whatever a rival wrote."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.reader import iter_manifest, iter_rows
from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import RunInfo, Snapshot
from coupled_core.dataset.upkeep.rewrite import Rewrite, rewrite_rows
from coupled_core.errors import DatasetError
from coupled_core.storage.local import LocalStore
from tests.sample_pairs import commit_pairs, spread_pairs
from tests.sample_shards import describe_run, publish


def _drop_kept(rows: Sequence[Row], _run: RunInfo) -> list[Row]:
    return [
        {**row, "kept": False, "reject_reasons": ["reviewed_out"]} if row["kept"] else row
        for row in rows
    ]


DROP_ALL = Rewrite("drop all", {"why": "a test"}, _drop_kept)


def _commit(store: LocalStore, index: int) -> None:
    assert commit_shards(store, [publish(store, "run", index)], describe_run("run"))


def _rows(store: LocalStore, snapshot: Snapshot | None) -> list[Row]:
    assert snapshot is not None
    return list(iter_rows(iter_manifest(store, snapshot.parts)))


def test_rows_that_change_are_counted_and_no_others(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    _commit(store, 0)
    report = rewrite_rows(store, DROP_ALL)
    assert (report.num_dropped, report.num_kept, report.num_changed) == (2, 0, 2)
    assert not any(row["kept"] for row in _rows(store, report.snapshot))
    assert report.snapshot is not None
    assert (report.snapshot.action, report.snapshot.details) == ("drop all", {"why": "a test"})
    again = rewrite_rows(store, DROP_ALL)
    assert (again.snapshot, again.num_changed) == (None, 0)


def test_rows_of_a_rival_are_changed_and_counted_too(tmp_path: Path) -> None:
    class Overtaken(LocalStore):
        has_rival = True

        def write_if_match(self, key: str, data: bytes, etag: str) -> str:
            if b"drop all" in data and self.has_rival:
                self.has_rival = False
                _commit(LocalStore(self.root), 1)
            return super().write_if_match(key, data, etag)

    store = Overtaken(tmp_path)
    _commit(store, 0)
    report = rewrite_rows(store, DROP_ALL)
    assert (report.num_dropped, report.num_changed) == (4, 4)
    assert [row["kept"] for row in _rows(store, report.snapshot)] == [False] * 10


def test_images_that_come_back_are_compared_with_their_rows_first(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    commit_pairs(store, spread_pairs(4), store_dropped=True)
    before = store.read("current.json")

    def keep_with_another_hash(rows: Sequence[Row], _run: RunInfo) -> list[Row]:
        changed = {"kept": True, "reject_reasons": [], "image_0_sha256": "0" * 64}
        return [{**row, **changed} if not row["kept"] else row for row in rows]

    with pytest.raises(DatasetError, match=r"image 0 of pair .* the manifest expects 0000"):
        rewrite_rows(store, Rewrite("keep all", {}, keep_with_another_hash))
    assert store.read("current.json") == before


def test_a_pair_without_images_cannot_be_kept(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    _commit(store, 0)

    def keep_scored(rows: Sequence[Row], _run: RunInfo) -> list[Row]:
        return [
            {**row, "kept": True, "reject_reasons": []} if row["status"] == "ok" else row
            for row in rows
        ]

    with pytest.raises(DatasetError, match="cannot keep: 1 pairs would be kept whose images were"):
        rewrite_rows(store, Rewrite("keep", {}, keep_scored))
