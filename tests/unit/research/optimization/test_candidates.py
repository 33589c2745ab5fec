"""Every point of the box is a schedule, and candidates fill it around the schedule in use."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from coupled_core.research.methods.coupled import REGION_KNOBS
from coupled_core.research.optimization.candidates import (
    KNOT_MARGIN,
    FittedOn,
    draw_candidates,
    make_schedule,
    open_space,
    project,
)
from coupled_core.research.optimization.settings import ScheduleFamily
from coupled_core.schedules.schedule import RegionSettings, Schedule

FITTED_ON = FittedOn("log_bias", "miniature", "0" * 64, num_inference_steps=20, shift=0.5)
IN_REGION = replace(FITTED_ON, mode="region")
SIGMAS = torch.linspace(1.0, 0.0, 101, dtype=torch.float64)
BEFORE = make_schedule("sine", {"center": 0.1, "width": 0.1}, FITTED_ON)
BEFORE_IN_REGION = make_schedule(
    "step", {"center": -0.0625}, IN_REGION, RegionSettings(size=0.1, matte=0.03)
)
FAMILIES: tuple[ScheduleFamily, ...] = ("step", "arctan", "sine", "isotonic")


def draw(
    fitted_on: FittedOn = FITTED_ON,
    before: Schedule | None = BEFORE,
    family: ScheduleFamily | None = None,
    count: int = 16,
    spread: float = 0.5,
) -> tuple[Schedule, ...]:
    return draw_candidates(
        fitted_on, before, family=family, num_knots=5, count=count, spread=spread, seed=3
    )


def test_projection_pools_neighbours_in_the_wrong_order_at_their_mean() -> None:
    assert project([0.1, 0.7, 0.3, 0.9]) == (0.1, 0.5, 0.5, 0.9)
    assert project([0.9, 0.5, 0.1]) == (0.5, 0.5, 0.5)


def test_projection_clips_so_that_both_ends_are_reached_exactly() -> None:
    assert project([-0.2, 0.0, 0.5, 1.1]) == (0.0, 0.0, 0.5, 1.0)


def test_projection_is_the_nearest_feasible_point() -> None:
    random = np.random.default_rng(0)
    grid = [rising for rising in itertools.product(np.linspace(0, 1, 21), repeat=3)]
    feasible = np.array([rising for rising in grid if list(rising) == sorted(rising)])
    for values in random.uniform(-KNOT_MARGIN, 1 + KNOT_MARGIN, (50, 3)):
        own = np.sum((np.array(project(values.tolist())) - values) ** 2)
        assert own <= np.sum((feasible - values) ** 2, axis=1).min() + 1e-4


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("fitted_on", [FITTED_ON, IN_REGION], ids=lambda one: one.mode)
def test_every_corner_of_a_box_is_a_schedule(family: ScheduleFamily, fitted_on: FittedOn) -> None:
    space = open_space(fitted_on, None, family, 3)
    names = [knob.name for knob in space.knobs]
    for corner in itertools.product(*((knob.low, knob.high) for knob in space.knobs)):
        # The constructor refuses what is none.
        schedule = space.build(dict(zip(names, corner, strict=True)))
        assert (schedule.family, schedule.mode) == (family, fitted_on.mode)
        beta = schedule.beta(SIGMAS)
        assert (beta.diff() >= 0).all() and 0.0 <= beta.min() <= beta.max() <= 1.0


def test_in_mode_region_the_region_alone_is_searched_around_the_one_in_use() -> None:
    candidates = draw(IN_REGION, BEFORE_IN_REGION)
    assert {each.parameters["center"] for each in candidates} == {-0.0625}
    assert BEFORE_IN_REGION.region is not None
    for knob in REGION_KNOBS:
        values = [getattr(each.region, knob.name) for each in candidates]
        middle, width = getattr(BEFORE_IN_REGION.region, knob.name), 0.5 * (knob.high - knob.low)
        low = max(knob.low, middle - width / 2)
        assert low - 1e-6 <= min(values) < middle < max(values) <= low + width + 1e-6
        assert len(set(values)) == len(values), knob.name


def test_a_family_that_is_named_is_searched_in_mode_region_too() -> None:
    candidates = draw(IN_REGION, BEFORE_IN_REGION, "sine")
    assert {each.family for each in candidates} == {"sine"}
    assert len({each.parameters["width"] for each in candidates}) > 10
    assert len({each.region for each in candidates if each.region}) > 10


def test_knots_are_searched_around_sines() -> None:
    first = draw()[0]
    assert first.family == "isotonic"
    sine = make_schedule("sine", {"center": 0.05, "width": 0.1}, FITTED_ON)
    assert (first.beta(SIGMAS) - sine.beta(SIGMAS)).abs().max() < 0.15
    assert len({each.parameters["values"] for each in draw()}) == 16


def test_the_schedule_in_use_is_no_candidate() -> None:
    for fitted_on, before in ((FITTED_ON, BEFORE), (IN_REGION, BEFORE_IN_REGION)):
        candidates = draw(fitted_on, before, count=8)
        assert len(candidates) == 8
        assert before.id not in {each.id for each in candidates}


def test_more_candidates_begin_with_the_same_ones_and_a_wider_box_is_wider() -> None:
    few, many = (draw(IN_REGION, BEFORE_IN_REGION, count=count) for count in (5, 24))
    assert many[:5] == few
    wide = draw(IN_REGION, BEFORE_IN_REGION, count=24, spread=1.0)
    sizes = [[each.region.size for each in some if each.region] for some in (many, wide)]
    assert np.ptp(sizes[1]) > 1.5 * np.ptp(sizes[0])


def test_without_a_schedule_in_use_the_first_candidate_is_the_default() -> None:
    first = draw(IN_REGION, None)[0]
    assert first.region == RegionSettings()
    assert first.beta(SIGMAS).min() == 1.0
