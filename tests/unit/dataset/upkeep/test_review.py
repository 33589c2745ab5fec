"""A person's decisions become a snapshot: all of them or none, and thresholds do not undo them."""

import json
from pathlib import Path

import pytest

from coupled_core.dataset.reader import current_snapshot, iter_manifest
from coupled_core.dataset.rows import Row
from coupled_core.dataset.upkeep.recut import recut
from coupled_core.dataset.upkeep.review import DecisionFile, apply_decisions, parse_decisions
from coupled_core.errors import ConfigError, DatasetError
from coupled_core.storage.open_store import open_store
from coupled_core.storage.store import ObjectStore
from tests.sample_pairs import commit_pairs, spread_pairs


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    """Eight pairs of combined score 0 to 2: four kept, four dropped whose images are stored."""
    made = open_store(tmp_path / "pairs")
    commit_pairs(made, spread_pairs(8), store_dropped=True)
    return made


def _rows(store: ObjectStore) -> list[Row]:
    snapshot = current_snapshot(store)
    assert snapshot is not None
    return [row for batch in iter_manifest(store, snapshot.parts) for row in batch.to_pylist()]


def _decide(**verdicts: str) -> DecisionFile:
    plain = {"format": "coupled-review-1", "dataset": "pairs", "snapshot_id": "seen"}
    return parse_decisions(json.dumps({**plain, "decisions": verdicts}).encode(), "decisions.json")


def test_a_drop_and_a_keep_become_rows_reasons_and_a_funnel(store: ObjectStore) -> None:
    before = _rows(store)
    dropped, confirmed, rescued = before[7]["pair_id"], before[6]["pair_id"], before[0]["pair_id"]
    report = apply_decisions(
        store, _decide(**{dropped: "drop", confirmed: "keep", rescued: "keep"})
    )
    assert (report.num_dropped, report.num_confirmed, report.num_kept) == (1, 1, 1)
    after = {row["pair_id"]: row for row in _rows(store)}
    assert (after[dropped]["kept"], after[dropped]["review_status"]) == (False, "drop")
    assert after[dropped]["reject_reasons"] == ["reviewed_out"]
    assert (after[rescued]["kept"], after[rescued]["reject_reasons"]) == (True, [])
    assert after[rescued]["image_part"].startswith("images/")
    assert after[confirmed]["review_status"] == "keep"
    untouched = [row for row in before if row["pair_id"] not in (dropped, confirmed, rescued)]
    assert all(after[row["pair_id"]] == row for row in untouched)
    snapshot = current_snapshot(store)
    assert snapshot is not None and snapshot == report.snapshot
    assert snapshot.action == "review"
    assert snapshot.funnel.pairs_kept == sum(row["kept"] for row in after.values()) == 4
    assert snapshot.funnel.dropped_by_reason["reviewed_out"] == 1


def test_the_same_decisions_again_change_nothing(store: ObjectStore) -> None:
    decisions = _decide(**{_rows(store)[7]["pair_id"]: "drop"})
    apply_decisions(store, decisions)
    before = store.read("current.json")
    assert apply_decisions(store, decisions).snapshot is None
    assert store.read("current.json") == before


def test_a_change_of_mind_takes_a_drop_back(store: ObjectStore) -> None:
    pair_id = _rows(store)[7]["pair_id"]
    apply_decisions(store, _decide(**{pair_id: "drop"}))
    apply_decisions(store, _decide(**{pair_id: "keep"}))
    row = next(row for row in _rows(store) if row["pair_id"] == pair_id)
    assert (row["kept"], row["reject_reasons"], row["review_status"]) == (True, [], "keep")


def test_a_recut_does_not_overrule_a_person(store: ObjectStore) -> None:
    best, worst = _rows(store)[7]["pair_id"], _rows(store)[0]["pair_id"]
    apply_decisions(store, _decide(**{best: "drop", worst: "keep"}))
    recut(store, {"min_combined": 1.9})
    kept = {row["pair_id"] for row in _rows(store) if row["kept"]}
    assert kept == {worst}


def test_a_keep_without_stored_images_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    store = open_store(tmp_path / "pairs")
    commit_pairs(store, spread_pairs(8))
    rows, before = _rows(store), store.read("current.json")
    decisions = _decide(**{rows[0]["pair_id"]: "keep", rows[7]["pair_id"]: "drop"})
    with pytest.raises(DatasetError, match=f"not stored .{rows[0]['pair_id']}"):
        apply_decisions(store, decisions)
    assert store.read("current.json") == before


def test_a_decision_about_a_pair_of_another_dataset_is_refused(store: ObjectStore) -> None:
    with pytest.raises(DatasetError, match=r"not in the dataset .f{32}"):
        apply_decisions(store, _decide(**{"f" * 32: "drop", _rows(store)[0]["pair_id"]: "drop"}))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"keep everything", "expected JSON"),
        (b"[]", "valid dictionary"),
        (b'{"format": "coupled-review-2"}', "coupled-review-1"),
    ],
)
def test_another_file_is_named_and_refused(content: bytes, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"notes.txt is not a decisions file.*{problem}"):
        parse_decisions(content, "notes.txt")


def test_a_verdict_that_is_neither_keep_nor_drop_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"decisions.*maybe"):
        _decide(pair="maybe")
