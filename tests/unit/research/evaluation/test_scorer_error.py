"""The scorers' own error is measured on pairs whose truth is really known."""

from dataclasses import replace

import numpy as np
import pytest

from coupled_core.config import ScoringConfig
from coupled_core.research.drawn_world.scenes import sample_scene
from coupled_core.research.evaluation.scorer_error import draw_pair, measure_scorers
from coupled_core.scoring.metrics import background_similarity, joint_entity_region

RNG = np.random.default_rng(5)
FIRST, SECOND = (sample_scene(RNG, dependence=0.0) for _ in range(2))


def test_without_drift_the_backgrounds_of_a_pair_are_equal_outside_the_true_masks() -> None:
    pair = draw_pair(FIRST, SECOND, 0.0, np.random.default_rng(0))
    near_zero = background_similarity(pair.images, joint_entity_region(pair.masks))
    assert -0.5 < near_zero <= 0.0  # pixels on an entity's edge are part background
    assert pair.scenes[1].entity == SECOND.entity


def test_with_drift_they_are_not() -> None:
    pair = draw_pair(FIRST, replace(SECOND, texture_seed=1), 1.0, np.random.default_rng(0))
    assert background_similarity(pair.images, joint_entity_region(pair.masks)) < -2.0


def test_every_figure_has_an_interval_around_its_value() -> None:
    figures = measure_scorers(ScoringConfig(), num_renders=16, seed=0, device="cpu")
    assert len({figure.name for figure in figures}) == len(figures) > 10
    for figure in figures:
        assert figure.low - 1e-9 <= figure.value <= figure.high + 1e-9
        assert figure.goal is None
    shares = {figure.name: figure.value for figure in figures}
    assert shares["CLIP tells the right entity from another"] > 0.8
    assert shares["Segment Anything, IoU of a mask from one point"] == pytest.approx(0.9, abs=0.15)
