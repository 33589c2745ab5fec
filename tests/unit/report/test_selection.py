"""Which pairs a page shows, and why."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from coupled_core.dataset.snapshot import Snapshot
from coupled_core.report.measurements import read_measurements
from coupled_core.report.selection import choose_pairs, read_chosen
from coupled_core.storage.open_store import open_store
from coupled_core.storage.store import ObjectStore
from tests.sample_pairs import SamplePair, commit_pairs, spread_pairs


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[ObjectStore, Snapshot]:
    """41 pairs in order of their scores 0 to 2 (threshold 1), in two runs."""
    store = open_store(tmp_path_factory.mktemp("selection") / "pairs")
    commit_pairs(store, spread_pairs(41), run_id="a", store_dropped=True)
    return store, commit_pairs(store, spread_pairs(41), run_id="b", store_dropped=True)


def test_each_kind_holds_what_its_name_says(made: tuple[ObjectStore, Snapshot]) -> None:
    pairs = read_measurements(*made)
    chosen = choose_pairs(pairs, np.ones(len(pairs), bool), 1.0, 16)
    found = {kind: [] for kind in ("best", "borderline", "worst", "random")}
    for shown in read_chosen(*made, chosen):
        for kind in shown.kinds:
            found[kind].append(shown.row["combined"])
    assert len(chosen) == 16
    assert min(found["best"]) >= 1.9
    assert max(found["worst"]) <= 0.1
    assert max(abs(score - 1.0) for score in found["borderline"]) <= 0.051
    assert len(found["random"]) >= 4


def test_pairs_without_images_only_fill_up(made: tuple[ObjectStore, Snapshot]) -> None:
    pairs = read_measurements(*made)
    assert set(choose_pairs(pairs, pairs.is_kept, 1.0, 20)) <= set(np.flatnonzero(pairs.is_kept))
    assert set(choose_pairs(pairs, pairs.is_kept, 1.0, 82)) == set(range(82))


def test_the_rows_that_are_read_are_those_that_were_chosen(
    made: tuple[ObjectStore, Snapshot],
) -> None:
    pairs = read_measurements(*made)
    rows = read_chosen(*made, {3: ("best",), 40: ("worst",), 41: ("random",), 81: ("best",)})
    assert [each.row["combined"] for each in rows] == list(pairs.of("combined")[[3, 40, 41, 81]])
    assert len({each.row["run_id"] for each in rows}) == 2


def test_whole_groups_of_three_images_are_shown_together(tmp_path: Path) -> None:
    store = open_store(tmp_path / "pairs")
    groups = [
        SamplePair(group_id=f"g{group}", indices=indices)
        for group in range(8)
        for indices in ((0, 1), (0, 2), (1, 2))
    ]
    snapshot = commit_pairs(store, [*spread_pairs(40), *groups])
    pairs = read_measurements(store, snapshot)
    chosen = choose_pairs(pairs, np.ones(len(pairs), bool), 1.0, 30)
    rows = [each.row for each in read_chosen(store, snapshot, chosen) if "groups" in each.kinds]
    found = Counter(row["group_id"] for row in rows)
    assert len(found) == 2
    assert set(found.values()) == {3}
