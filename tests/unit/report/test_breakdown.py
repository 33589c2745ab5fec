"""Pairs by what varies in them, and by background."""

from pathlib import Path

from coupled_core.report.breakdown import MAX_SHOWN, Share, break_down
from coupled_core.report.measurements import read_measurements
from coupled_core.storage.open_store import open_store
from tests.sample_pairs import SamplePair, commit_pairs


def test_pairs_are_counted_by_what_varies_with_the_reason_that_drops_most(tmp_path: Path) -> None:
    store = open_store(tmp_path / "pairs")
    scores = {"entity_swap": (0.1, 0.5, 1.5, 1.9), "pose": (1.2,)}
    pairs = [
        SamplePair(variation_kind=kind, combined=combined)
        for kind, values in scores.items()
        for combined in values
    ]
    empty = SamplePair(variation_kind="entity_swap", combined=1.7, mask_side=0.0)
    found = read_measurements(store, commit_pairs(store, [*pairs, empty]))
    assert break_down(found, found.kinds).shares == (
        Share("entity_swap", 5, 2, 1.5, "below_min_combined"),
        Share("pose", 1, 1, 1.2, None),
    )


def test_backgrounds_that_lose_most_pairs_stand_first_and_all_are_counted(tmp_path: Path) -> None:
    store = open_store(tmp_path / "pairs")
    pairs = [SamplePair(background_prompt=f"lake {place:02}") for place in range(20)]
    worst = [SamplePair(background_prompt="a swamp", combined=0.1)] * 2
    found = read_measurements(store, commit_pairs(store, [*pairs, *worst]))
    made = break_down(found, found.backgrounds)
    assert (made.num_labels, len(made.shares)) == (21, MAX_SHOWN)
    assert [each.label for each in made.shares[:2]] == ["a swamp", "lake 00"]
    assert (made.shares[0].num_kept, made.shares[0].main_reason) == (0, "below_min_combined")


def test_of_a_dataset_without_pairs_nothing_is_broken_down(tmp_path: Path) -> None:
    store = open_store(tmp_path / "pairs")
    commit_pairs(store, [SamplePair()])
    found = read_measurements(store, commit_pairs(store, [SamplePair()], run_id="other"))
    found.is_scored[:] = False
    assert break_down(found, found.kinds).shares == ()
