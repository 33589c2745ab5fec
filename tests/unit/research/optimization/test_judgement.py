"""What has to rise and what must not fall, on pairs whose measures are known."""

import pytest

from coupled_core.records import RejectReason
from coupled_core.research.evaluation.pairs import FLOOR_OBJECTIVE, EvaluatedPair
from coupled_core.research.optimization.judgement import MEASURES, compare, measure_means
from tests.unit.research.optimization.known_pairs import make_pair, schedule_worth

CANDIDATE = schedule_worth(0.1)
WHOLE = {"right_fraction": 1.0, "stock_overlap": (0.8, 0.9), "stock_outside": (0.0, 0.02)}
WORSE = {
    "background_similarity_clear": {"clear": -1.2},
    "right_fraction": {"right_fraction": 0.9},
    "stock_overlap": {"stock_overlap": (0.7, 0.7)},
    "stock_outside": {"stock_outside": (0.1, 0.0)},
    "unfit": {"guards": ("empty_mask",)},
    "model_evaluations": {"model_evaluations": 42.0},
}


def make_pairs(count: int = 10, **fields: object) -> list[EvaluatedPair]:
    return [make_pair(i, 4.0 + 0.1 * i, **{**WHOLE, **fields}) for i in range(count)]  # type: ignore[arg-type]


def test_differences_are_paired_and_each_measure_has_a_mean() -> None:
    better = [make_pair(i, 4.1 + 0.1 * i, **WHOLE) for i in range(10)]  # type: ignore[arg-type]
    standing = compare(CANDIDATE, better, make_pairs(), "combined")
    gain = standing.differences["combined"]
    assert (gain.mean, gain.low, gain.high) == pytest.approx((0.1, 0.1, 0.1))
    assert standing.means["combined"].mean == pytest.approx(4.55)
    assert standing.means["stock_overlap"].mean == pytest.approx(0.85)
    assert standing.means["stock_outside"].mean == pytest.approx(0.01)
    assert standing.differences.keys() == MEASURES.keys()
    assert standing.vetoes == ()


@pytest.mark.parametrize(("name", "fields"), WORSE.items(), ids=WORSE)
@pytest.mark.parametrize("is_final", [False, True])
def test_each_measure_that_becomes_worse_is_a_veto(
    name: str, fields: dict[str, object], is_final: bool
) -> None:
    standing = compare(CANDIDATE, make_pairs(**fields), make_pairs(), "combined", is_final=is_final)
    assert standing.vetoes == (name,)
    # The other way round it is better, which is no reason against a candidate.
    other = compare(CANDIDATE, make_pairs(), make_pairs(**fields), "combined", is_final=is_final)
    assert other.vetoes == ()


def test_the_objective_has_no_veto_and_every_other_measure_has() -> None:
    assert set(WORSE) == MEASURES.keys() - {"combined"}
    worse = [make_pair(i, 3.0, **WHOLE) for i in range(10)]  # type: ignore[arg-type]
    assert compare(CANDIDATE, worse, make_pairs(), "combined").vetoes == ()
    clear = compare(CANDIDATE, worse, make_pairs(), "background_similarity_clear")
    assert clear.vetoes == ("combined",)


def test_in_the_race_a_veto_takes_an_interval_and_in_the_finals_a_mean() -> None:
    own = [make_pair(i, right_fraction=float(i % 2)) for i in range(6)]
    before = [make_pair(i, right_fraction=float(i % 2 or i < 4)) for i in range(6)]
    before[1] = make_pair(1, right_fraction=0.0)
    assert compare(CANDIDATE, own, before, "combined").vetoes == ()
    assert compare(CANDIDATE, own, before, "combined", is_final=True).vetoes == ("right_fraction",)


def test_what_nobody_can_say_is_left_out() -> None:
    plain = [make_pair(i) for i in range(4)]
    measured = measure_means(plain).keys()
    assert {"right_fraction", "stock_overlap", "stock_outside"}.isdisjoint(measured)
    partly = [make_pair(0, stock_overlap=(0.5, None)), make_pair(1, stock_overlap=(None, None))]
    means = measure_means(partly)
    assert (means["stock_overlap"].mean, means["stock_overlap"].count) == (0.5, 1)


def test_a_lost_entity_counts_in_its_own_measure_and_no_images_count_the_floor() -> None:
    lost = [make_pair(0, 5.0, guards=("empty_mask",)), make_pair(1, 5.0)]
    assert measure_means(lost)["combined"].mean == 5.0
    assert measure_means(lost)["unfit"].mean == 0.5
    none = [make_pair(0, scores=None, guards=(RejectReason.GENERATION_FAILED,))]
    assert measure_means(none)["combined"].mean == FLOOR_OBJECTIVE
