"""Every point of the box is a schedule, and the search finds one whose best curve is known."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from coupled_core.research.optimization.schedule_search import (
    KNOT_MARGIN,
    FittedOn,
    FoundSchedule,
    ScheduleSpace,
    Search,
    extension_of,
    family_space,
    knot_space,
    project,
    search_schedule,
)
from coupled_core.schedules.schedule import RegionSettings, Schedule, isotonic

FITTED_ON = FittedOn("log_bias", "miniature", "0" * 64, num_inference_steps=20, shift=0.5)
SIGMAS = torch.linspace(1.0, 0.0, 101, dtype=torch.float64)
WANTED = isotonic(1.0 - SIGMAS, times=(0.1, 0.2, 0.3, 0.4), values=(0.0, 0.6, 0.6, 1.0))
"""With a step that no sine has."""


def defaults(space: ScheduleSpace) -> dict[str, float]:
    return {knob.name: knob.default for knob in space.knobs}


def knots_of_a_sine(**knobs: float) -> tuple[Schedule, ScheduleSpace]:
    family = family_space("sine", FITTED_ON)
    point = {**defaults(family), **knobs}
    return family.build(point), knot_space(family.build(point), point, 8, FITTED_ON)


def test_projection_pools_neighbours_in_the_wrong_order_at_their_mean() -> None:
    assert project([0.1, 0.7, 0.3, 0.9]) == (0.1, 0.5, 0.5, 0.9)
    assert project([0.9, 0.5, 0.1]) == (0.5, 0.5, 0.5)


def test_projection_clips_so_that_both_ends_are_reached_exactly() -> None:
    assert project([-0.2, 0.0, 0.5, 1.1]) == (0.0, 0.0, 0.5, 1.0)


def test_projection_leaves_what_is_feasible_alone() -> None:
    values = (0.0, 0.25, 0.25, 0.5, 1.0)
    assert project(values) == values


def test_projection_is_the_nearest_feasible_point() -> None:
    random = np.random.default_rng(0)
    grid = [rising for rising in itertools.product(np.linspace(0, 1, 21), repeat=3)]
    feasible = np.array([rising for rising in grid if list(rising) == sorted(rising)])
    for values in random.uniform(-KNOT_MARGIN, 1 + KNOT_MARGIN, (50, 3)):
        own = np.sum((np.array(project(values.tolist())) - values) ** 2)
        assert own <= np.sum((feasible - values) ** 2, axis=1).min() + 1e-4


@pytest.mark.parametrize("family", ["step", "arctan", "sine"])
def test_every_corner_of_a_familys_box_is_a_schedule(family: str) -> None:
    space = family_space(family, FITTED_ON)
    for corner in itertools.product(*((knob.low, knob.high) for knob in space.knobs)):
        names = [knob.name for knob in space.knobs]
        schedule = space.build(dict(zip(names, corner, strict=True)))  # refuses what is none
        assert schedule.family == family
        assert (schedule.mode, schedule.num_inference_steps, schedule.shift) == (
            "log_bias",
            20,
            0.5,
        )


def test_any_point_of_the_knots_box_is_a_schedule() -> None:
    _, space = knots_of_a_sine()
    random = np.random.default_rng(1)
    for point in random.uniform(-KNOT_MARGIN, 1 + KNOT_MARGIN, (200, len(space.knobs))):
        names = [knob.name for knob in space.knobs]
        beta = space.build(dict(zip(names, point.tolist(), strict=True))).beta(SIGMAS)
        assert (beta.diff() >= 0).all()
        assert 0.0 <= beta.min() <= beta.max() <= 1.0


@pytest.mark.parametrize(("center", "width"), [(0.05, 0.1), (0.3, 0.4), (0.02, 0.3)])
def test_knots_start_on_the_sine_that_they_come_from(center: float, width: float) -> None:
    sine, space = knots_of_a_sine(center_root=center**0.5, width_root=width**0.5)
    start = space.build(defaults(space))
    assert start.family == "isotonic"
    assert (start.beta(SIGMAS) - sine.beta(SIGMAS)).abs().max() < 0.1
    assert start.beta(SIGMAS)[-1] == 1.0


def test_further_knobs_of_a_mode_are_searched_along_and_start_where_the_family_ended() -> None:
    fitted_on = replace(FITTED_ON, mode="region")
    family = family_space("sine", fitted_on, extension_of("region"))
    assert [knob.name for knob in family.knobs][:3] == ["center_root", "width_root", "size"]
    assert family.build(defaults(family)).region == RegionSettings()
    point = {**defaults(family), "size": 0.2}
    knots = knot_space(family.build(point), point, 5, fitted_on, extension_of("region"))
    assert len(knots.knobs) == 5 + 4
    assert knots.build(defaults(knots)).region == RegionSettings(size=0.2)


def test_where_space_holds_the_background_the_search_starts_with_beta_1_throughout() -> None:
    space = family_space("sine", replace(FITTED_ON, mode="region"), extension_of("region"))
    sine = space.build(defaults(space))
    assert sine.beta(SIGMAS).min() == 1.0
    knots = knot_space(
        sine, defaults(space), 8, replace(FITTED_ON, mode="region"), extension_of("region")
    )
    assert knots.build(defaults(knots)).parameters["values"] == (1.0,) * 8


def test_every_corner_of_the_regions_box_is_a_schedule() -> None:
    space = family_space("sine", replace(FITTED_ON, mode="region"), extension_of("region"))
    names = [knob.name for knob in space.knobs]
    for corner in itertools.product(*((knob.low, knob.high) for knob in space.knobs)):
        assert space.build(dict(zip(names, corner, strict=True))).mode == "region"


class Likeness:
    """Scores schedules by how near they come to the wanted curve; dies at a given candidate."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.num_evaluated, self._dies_at = 0, dies_at

    def __call__(self, schedules: Sequence[Schedule]) -> Iterable[float]:
        for schedule in schedules:
            self.num_evaluated += 1
            if self.num_evaluated == self._dies_at:
                raise KeyboardInterrupt
            yield -100.0 * float(((schedule.beta(SIGMAS) - WANTED) ** 2).mean())


def find(folder: Path, family: str, budget: int, likeness: Likeness | None = None) -> FoundSchedule:
    search = Search(likeness or Likeness(), folder, seed=3)
    return search_schedule(search, FITTED_ON, family=family, budget=budget, num_knots=8)


def test_knots_go_on_from_the_best_sine_and_come_nearer_than_it(tmp_path: Path) -> None:
    found = find(tmp_path, "isotonic", 250)
    assert [(stage.name, len(stage.history)) for stage in found.stages] == [
        ("sine", 100),
        ("knots", 150),
    ]
    sine, knots = (stage.best_objective for stage in found.stages)
    assert found.best.family == "isotonic"
    assert found.best_objective == knots > sine + 0.05
    assert (found.best.beta(SIGMAS) - WANTED).abs().mean() < 0.03


@pytest.mark.parametrize("family", ["step", "arctan", "sine"])
def test_a_family_is_searched_within_itself(tmp_path: Path, family: str) -> None:
    found = find(tmp_path, family, 40)
    assert found.best.family == family
    assert found.best_objective > found.stages[0].history[0].objective


@pytest.mark.parametrize("dies_at", [2, 9, 12, 20])
def test_a_search_that_died_in_any_stage_goes_on_to_the_same_schedule(
    tmp_path: Path, dies_at: int
) -> None:
    whole = find(tmp_path / "whole", "isotonic", 24)
    with pytest.raises(KeyboardInterrupt):
        find(tmp_path / "killed", "isotonic", 24, Likeness(dies_at))
    rest = Likeness()
    assert find(tmp_path / "killed", "isotonic", 24, rest) == whole
    assert rest.num_evaluated == 24 - (dies_at - 1)


def test_families_share_a_folder_without_mixing_their_histories(tmp_path: Path) -> None:
    sine = find(tmp_path, "sine", 8)
    arctan = find(tmp_path, "arctan", 8)
    assert find(tmp_path, "sine", 8, Likeness(dies_at=1)) == sine
    assert find(tmp_path, "arctan", 8, Likeness(dies_at=1)) == arctan
