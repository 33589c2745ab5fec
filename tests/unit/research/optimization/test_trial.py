"""Trials on a real model: what is made again, and which groups and judges they have."""

from dataclasses import replace

import numpy as np
import pytest

from coupled_core.config import GenerationConfig, PromptSetConfig, RunConfig, ScoringConfig
from coupled_core.errors import ConfigError
from coupled_core.generation.provenance import resolve
from coupled_core.research.evaluation.pairs import EvaluatedPair
from coupled_core.research.optimization.settings import OptimizeSettings
from coupled_core.research.optimization.trial import (
    StockMasks,
    Trial,
    TrialRunner,
    choose_samples,
    list_groups,
    load_trial_runner,
)
from coupled_core.scoring.pair_scorer import load_scorer
from tests.unit.research.evaluation.drawing import Drawing, build_sample, draw_honestly

RUN = RunConfig(
    prompts=PromptSetConfig(uri="miniature"), generation=GenerationConfig(num_inference_steps=2)
)
SCHEDULE = resolve(RUN.generation).schedule
SETTINGS = OptimizeSettings(run=RUN, coupling_mode="region", num_final_groups=2)


@pytest.fixture(scope="module")
def runner() -> TrialRunner:
    return load_trial_runner(SETTINGS)


def _run(runner: TrialRunner, num_inference_steps: int | None = None) -> EvaluatedPair:
    trial = Trial(SCHEDULE, "finals", 1, 2, num_inference_steps)
    pairs = runner.run(trial)
    assert {pair.group_id for pair in pairs} == {list_groups(runner.finals)[1]}
    return pairs[0]


def test_a_trial_makes_its_groups_and_holds_them_against_same_seed_images(
    runner: TrialRunner,
) -> None:
    pair = _run(runner)
    assert len(pair.stock_overlap) == len(pair.stock_outside) == 2
    assert replace(_run(runner), seconds=0.0) == replace(pair, seconds=0.0)


def test_at_another_step_count_there_are_no_same_seed_images_to_compare_with(
    runner: TrialRunner,
) -> None:
    pair = _run(runner, num_inference_steps=3)
    assert (pair.stock_overlap, pair.stock_outside) == ((), ())
    assert pair.scores is not None


def test_masks_of_uncoupled_images_are_found_once_and_kept_as_they_were() -> None:
    method, scorer = Drawing(draw_honestly, fails=["lost"]), load_scorer(ScoringConfig(), "cpu")
    stock, sample = StockMasks(method, scorer), build_sample("meadow")
    first = stock.find(sample)
    method._draw = lambda _: np.zeros((64, 64, 3), np.uint8)  # who draws again finds nothing
    again = stock.find(sample)
    assert first is not None and first.dtype == np.bool_ and first.shape == (2, 64, 64)
    assert first.any(axis=(1, 2)).all() and np.array_equal(first, again)
    assert stock.find(build_sample("lost")) is None


def test_no_group_is_raced_on_and_in_the_finals_and_fewer_finals_are_the_first_ones() -> None:
    race, few = choose_samples(SETTINGS)
    same_race, finals = choose_samples(SETTINGS.model_copy(update={"num_final_groups": None}))
    assert race == same_race
    assert set(list_groups(race)).isdisjoint(list_groups(finals))
    assert list_groups(few) == list_groups(finals)[:2]


def test_more_finals_than_there_are_groups_are_refused_with_the_option() -> None:
    with pytest.raises(ConfigError, match=r"--num-final-groups 1000 of .* ask for fewer"):
        choose_samples(SETTINGS.model_copy(update={"num_final_groups": 1000}))
