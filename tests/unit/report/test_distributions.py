"""Which numbers a report shows, and the bounds of filters in them."""

from dataclasses import replace
from pathlib import Path

from coupled_core.filters import EMPTY_MASK, MASK_TOO_LARGE, NEAR_IDENTICAL
from coupled_core.report.distributions import METRICS, Metric, compute_distributions
from coupled_core.report.measurements import read_measurements
from coupled_core.report.survival import bounds_in_force
from coupled_core.storage.open_store import open_store
from tests.sample_pairs import commit_pairs, spread_pairs


def test_a_bound_on_the_largest_of_some_numbers_is_none_on_the_least() -> None:
    least = Metric("Smaller entity", "", EMPTY_MASK.columns)
    assert least.is_bounded_by(EMPTY_MASK)
    assert not least.is_bounded_by(replace(EMPTY_MASK, is_minimum=False))
    assert not least.is_bounded_by(MASK_TOO_LARGE)


def test_a_bound_on_one_number_is_on_it_from_either_side() -> None:
    change = Metric("Change", "", ("pixel_mse",))
    assert change.is_bounded_by(replace(NEAR_IDENTICAL, is_minimum=False))


def test_bounds_of_all_runs_stand_in_the_distribution_of_their_number(tmp_path: Path) -> None:
    store = open_store(tmp_path / "pairs")
    commit_pairs(store, spread_pairs(8), run_id="one")
    snapshot = commit_pairs(store, spread_pairs(8), run_id="two", settings={"min_combined": 1.5})
    pairs, in_force = read_measurements(store, snapshot), bounds_in_force(snapshot.runs)
    found = {each.metric: each for each in compute_distributions(pairs, in_force)}
    assert [found[metric].in_force for metric in METRICS[:2]] == [(1.0, 1.5), ()]
    assert sum(found[METRICS[0]].num_kept) == snapshot.funnel.pairs_kept == 6
    assert [metric.title for metric in found if found[metric].is_logarithmic] == [
        "Change of pixels"
    ]


def test_a_bound_that_no_pair_comes_near_does_not_stretch_the_axis(tmp_path: Path) -> None:
    store = open_store(tmp_path / "pairs")
    snapshot = commit_pairs(store, spread_pairs(8))
    pairs = read_measurements(store, snapshot)
    for bound, shown in ((-40.0, ()), (1.0, (1.0,))):
        combined = compute_distributions(pairs, {"min_combined": [bound]})[0]
        assert combined.in_force == shown
        assert (combined.edges[0] <= bound) == (bound in shown)
