"""What a pair counts: J, or the floor where a guard fires. The judges are the shipped ones."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from coupled_core.config import FilterConfig, ScoringConfig
from coupled_core.records import EntityMask, Rejection, RejectReason, Sample
from coupled_core.research.evaluation.pairs import (
    FLOOR_OBJECTIVE,
    EvaluatedPair,
    Evaluator,
    mean_objective,
    objectives_by_group,
)
from coupled_core.research.methods.method import MethodOutput
from coupled_core.scoring.metrics import combined
from coupled_core.scoring.pair_scorer import PairScorer, load_scorer
from tests.unit.research.evaluation.drawing import (
    Drawing,
    build_sample,
    draw_honestly,
    draw_nothing,
)

PUBLISHED_WORST = -0.919
"""The lowest combined metric among the golden rows."""


@pytest.fixture(scope="module")
def scorer() -> PairScorer:
    return load_scorer(ScoringConfig(), "cpu")


def _evaluate(
    scorer: PairScorer, method: Drawing, *samples: Sample, **limits: float
) -> list[EvaluatedPair]:
    evaluator = Evaluator(scorer, FilterConfig(**limits), batch_size=2)  # type: ignore[arg-type]
    return evaluator.evaluate(method, {}, samples)


def test_an_honest_pair_counts_its_combined_metric(scorer: PairScorer) -> None:
    (pair,) = _evaluate(scorer, Drawing(draw_honestly), build_sample("meadow"))
    assert pair.guards == ()
    assert pair.scores is not None
    assert pair.objective == pair.scores.combined > 3.0


def test_the_threshold_on_j_is_no_guard(scorer: PairScorer) -> None:
    strict = _evaluate(scorer, Drawing(draw_honestly), build_sample("m"), min_combined=99.0)
    assert strict[0].guards == ()
    assert strict[0].objective > FLOOR_OBJECTIVE


def test_losing_the_entities_does_not_pay(scorer: PairScorer) -> None:
    (lost,) = _evaluate(scorer, Drawing(draw_nothing), build_sample("meadow"))
    (honest,) = _evaluate(scorer, Drawing(draw_honestly), build_sample("meadow"))
    assert lost.scores is not None and honest.scores is not None
    assert lost.scores.background_similarity > honest.scores.background_similarity
    assert set(lost.guards) == {"empty_mask", "near_identical"}
    assert lost.objective == FLOOR_OBJECTIVE < honest.objective


def test_a_mask_over_too_much_counts_the_floor(scorer: PairScorer) -> None:
    pairs = _evaluate(scorer, Drawing(draw_honestly), build_sample("m"), max_mask_fraction=0.01)
    assert pairs[0].guards == ("mask_too_large",)
    assert pairs[0].objective == FLOOR_OBJECTIVE


def test_what_could_not_be_made_counts_the_floor_for_each_of_its_pairs(scorer: PairScorer) -> None:
    method = Drawing(draw_honestly, fails=["three"])
    pairs = _evaluate(scorer, method, build_sample("two"), build_sample("three", 3))
    failed = [pair for pair in pairs if pair.group_id == "three"]
    assert [(p.image_i, p.image_j) for p in failed] == [(0, 1), (0, 2), (1, 2)]
    assert {p.guards for p in failed} == {(RejectReason.GENERATION_FAILED,)}
    assert {p.objective for p in failed} == {FLOOR_OBJECTIVE}
    assert all(p.scores is None for p in failed)


def test_the_floor_lies_below_every_published_row_and_is_that_of_two_unrelated_images() -> None:
    noise = np.random.default_rng(0).uniform(0, 255, (2, 400, 400, 3))
    unrelated = combined(-float(np.mean((noise[0] - noise[1]) ** 2)) / 100.0, 0.0)
    assert pytest.approx(unrelated, abs=0.01) == FLOOR_OBJECTIVE
    assert FLOOR_OBJECTIVE < PUBLISHED_WORST


def test_a_pair_carries_its_share_of_what_its_sample_cost(scorer: PairScorer) -> None:
    pairs = _evaluate(scorer, Drawing(draw_honestly), build_sample("three", 3))
    assert [pair.seconds for pair in pairs] == [1.0] * 3
    assert [pair.model_evaluations for pair in pairs] == [10.0] * 3


def test_images_and_progress_are_told_as_they_come(scorer: PairScorer) -> None:
    seen: list[tuple[str, int, int]] = []
    told: list[tuple[int, int]] = []

    def look(sample: Sample, images: object, masks: list[EntityMask]) -> None:
        seen.append((sample.group.group_id, len(images), len(masks)))  # type: ignore[arg-type]

    samples = [build_sample(name) for name in ("a", "b", "c")]
    method = Drawing(draw_honestly, fails=["b"])
    Evaluator(scorer, FilterConfig(), batch_size=2).evaluate(
        method, {}, samples, lambda done, total: told.append((done, total)), look
    )
    assert seen == [("a", 2, 2), ("c", 2, 2)]
    assert told == [(2, 3), (3, 3)]


def test_the_objective_of_a_search_is_the_mean_over_groups(scorer: PairScorer) -> None:
    method = Drawing(draw_honestly, fails=["three"])
    pairs = _evaluate(scorer, method, build_sample("two"), build_sample("three", 3))
    groups = objectives_by_group(pairs)
    assert {group: len(values) for group, values in groups.items()} == {"two": 1, "three": 3}
    assert mean_objective(pairs) == pytest.approx((groups["two"][0] + FLOOR_OBJECTIVE) / 2)


def _against(
    scorer: PairScorer, stock: Sequence[np.ndarray] | None, region: np.ndarray | None
) -> EvaluatedPair:
    """Return an honest pair, held against masks of uncoupled images."""

    class Regional(Drawing):
        def generate(self, *given: Any, **named: Any) -> list[MethodOutput | Rejection]:
            regions = None if region is None else (region, region)
            made = super().generate(*given, **named)
            return [replace(one, regions=regions) for one in made if isinstance(one, MethodOutput)]

    evaluator = Evaluator(scorer, FilterConfig(), 2, find_stock_masks=lambda _: stock)
    (pair,) = evaluator.evaluate(Regional(draw_honestly), {}, [build_sample("meadow")])
    return pair


def test_entities_are_held_against_those_of_uncoupled_images_and_the_region(
    scorer: PairScorer,
) -> None:
    masks: list[EntityMask] = []
    Evaluator(scorer, FilterConfig(), 2).evaluate(
        Drawing(draw_honestly),
        {},
        [build_sample("meadow")],
        on_images=lambda *a: masks.extend(a[2]),
    )
    first, second = (each.mask for each in masks)
    row = np.arange(64)[:, None]
    upper = row <= np.median(np.nonzero(first)[0])
    region = np.broadcast_to(upper, first.shape).astype(np.float32)
    pair = _against(scorer, [first, second & ~second], region)
    assert pair.stock_overlap == (1.0, None)
    assert pair.stock_outside == (float((first & ~upper).sum() / first.sum()), None)
    half = _against(scorer, [first & upper, second], None)
    assert half.stock_overlap == (float((first & upper).sum() / first.sum()), 1.0)
    assert half.stock_outside == ()


def test_without_uncoupled_images_nothing_is_said_of_them(scorer: PairScorer) -> None:
    pair = _against(scorer, None, None)
    assert (pair.stock_overlap, pair.stock_outside) == ((), ())
