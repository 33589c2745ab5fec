"""Near-duplicates of a finished dataset: found, taken back, left alone by re-cuts, verified."""

from pathlib import Path
from typing import Any

import pytest

from coupled_core.config import DuplicatesConfig
from coupled_core.dataset import rows
from coupled_core.dataset.snapshot import RunInfo
from coupled_core.dataset.upkeep.damage import Flaw
from coupled_core.dataset.upkeep.dedup import drop_duplicates
from coupled_core.dataset.upkeep.recut import recut
from coupled_core.dataset.upkeep.rewrite import Rewrite, rewrite_rows
from coupled_core.dataset.upkeep.verify import verify_snapshot
from coupled_core.storage.local import LocalStore
from tests.unit.dataset.similar_pairs import (
    commit_pairs,
    copy_of,
    decisions_of,
    draw,
    id_of,
    upload_pairs,
)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def test_dedup_cleans_a_dataset_that_let_duplicates_in_and_takes_back_what_no_longer_holds(
    store: LocalStore,
) -> None:
    lax = {"duplicates": {"drop": False}}
    commit_pairs(
        store,
        [upload_pairs(store, "a", {1: (draw(1), 1.5), 2: (draw(2), 2.0)})],
        **lax,
    )
    commit_pairs(store, [upload_pairs(store, "b", {1: (copy_of(draw(1)), 3.0)})], **lax)
    report = drop_duplicates(store, DuplicatesConfig())
    assert report.snapshot is not None
    assert (report.num_dropped, report.num_kept) == (1, 0)
    assert decisions_of(store, report.snapshot)["a", 1] == id_of("b", 1)
    assert drop_duplicates(store, DuplicatesConfig()).snapshot is None

    strict = drop_duplicates(store, DuplicatesConfig(min_clip_similarity=1.0))
    assert strict.snapshot is not None
    assert (strict.num_dropped, strict.num_kept) == (0, 1)
    assert set(decisions_of(store, strict.snapshot).values()) == {None}


def test_a_recut_leaves_duplicates_dropped(store: LocalStore) -> None:
    pairs = {
        1: (draw(1), 2.0),
        2: (copy_of(draw(1)), 1.9),
        3: (draw(3), 1.2),
    }
    commit_pairs(store, [upload_pairs(store, "a", pairs)], output={"store_dropped": True})
    assert recut(store, {"min_combined": 1.5}).num_dropped == 1
    report = recut(store, {"min_combined": 1.0})
    assert report.snapshot is not None
    assert decisions_of(store, report.snapshot)["a", 2] == id_of("a", 1)


def test_verify_names_a_duplicate_of_a_pair_that_is_nowhere(store: LocalStore) -> None:
    pairs = {1: (draw(1), 2.0), 2: (copy_of(draw(1)), 1.5)}
    commit_pairs(store, [upload_pairs(store, "a", pairs)])

    def point_nowhere(found: Any, _run: RunInfo) -> list[rows.Row]:
        return [{**r, "duplicate_of": r["duplicate_of"] and "f" * 32} for r in found]

    snapshot = rewrite_rows(store, Rewrite("test", {}, point_nowhere)).snapshot
    assert snapshot is not None
    report = verify_snapshot(store, snapshot)
    assert report.damage.counts == {Flaw.DUPLICATE_OF: 1}
    assert f"(pair {id_of('a', 2)}): expected pair {'f' * 32}" in str(report.damage.listed[0])
