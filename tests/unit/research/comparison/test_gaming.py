"""The metric cannot be gamed: what drops the task and keeps the background scores worse for it."""

from collections.abc import Callable

import numpy as np
import pytest

from coupled_core.config import FilterConfig
from coupled_core.filtering.decide import decide
from coupled_core.records import EntityMask, RejectReason, Sample
from coupled_core.research.evaluation.pairs import (
    FLOOR_OBJECTIVE,
    EvaluatedPair,
    Evaluator,
    mean_objective,
    objective_of,
)
from coupled_core.scoring.metrics import score_pair
from tests.unit.research.comparison.drawn_method import (
    DrawnMethod,
    draw_honestly,
    fill_the_frame,
    leave_entities_out,
    load_evaluator,
    read_samples,
    repeat_the_first,
)

NUM_GROUPS = 4
Draw = Callable[[Sample, float], tuple[np.ndarray, ...]]


@pytest.fixture(scope="module")
def evaluate() -> Callable[[Draw], list[EvaluatedPair]]:
    """Scores the pairs that a way of drawing makes of a few samples."""
    evaluator: Evaluator = load_evaluator()
    samples = read_samples(NUM_GROUPS)

    def run(draw: Draw) -> list[EvaluatedPair]:
        return evaluator.evaluate(DrawnMethod(draw_pair=draw), {"drift": 0.3}, samples)

    return run


@pytest.fixture(scope="module")
def honest(evaluate: Callable[[Draw], list[EvaluatedPair]]) -> list[EvaluatedPair]:
    return evaluate(draw_honestly)


def test_honest_pairs_pass_the_guards(honest: list[EvaluatedPair]) -> None:
    assert [pair.guards for pair in honest] == [()] * NUM_GROUPS
    assert mean_objective(honest) > 3.0


@pytest.mark.parametrize(
    ("cheat", "guard"),
    [
        (leave_entities_out, "empty_mask"),
        (repeat_the_first, "near_identical"),
        (fill_the_frame, None),
    ],
)
def test_a_pair_that_drops_the_task_scores_worse_than_an_honest_one(
    evaluate: Callable[[Draw], list[EvaluatedPair]],
    honest: list[EvaluatedPair],
    cheat: Draw,
    guard: RejectReason | None,
) -> None:
    cheated = evaluate(cheat)
    for fair, unfair in zip(honest, cheated, strict=True):
        assert unfair.objective < fair.objective
    if guard is not None:
        caught = [guard in pair.guards for pair in cheated]
        assert sum(caught) >= NUM_GROUPS - 1
        assert all(
            pair.objective == FLOOR_OBJECTIVE
            for pair, is_caught in zip(cheated, caught, strict=True)
            if is_caught
        )


@pytest.mark.parametrize("covered", [1.0, 0.9])
def test_masks_over_the_frame_hide_no_bad_background(covered: float) -> None:
    rng = np.random.default_rng(0)
    images = tuple(rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8))
    mask = np.arange(32 * 32).reshape(32, 32) < covered * 32 * 32
    embeddings = (np.array([1.0, 0.0]),) * 2
    scores = score_pair((images[0], images[1]), (mask, mask), embeddings, embeddings)
    masks = (EntityMask(mask, 0.9, touches_border=True),) * 2
    reasons = decide(scores, masks, FilterConfig()).reject_reasons
    assert "mask_too_large" in reasons
    assert objective_of(scores, reasons) == FLOOR_OBJECTIVE
