"""Searching for a schedule whose best curve is known, without any images."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
import torch

from coupled_core.research.optimization.schedule_search import (
    FoundSchedule,
    Search,
    search_schedule,
)
from coupled_core.schedules.schedule import Schedule, isotonic
from tests.unit.research.optimization.test_schedule_space import FITTED_ON

SIGMAS = torch.linspace(1.0, 0.0, 101, dtype=torch.float64)
WANTED = isotonic(1.0 - SIGMAS, times=(0.1, 0.2, 0.3, 0.4), values=(0.0, 0.6, 0.6, 1.0))
"""With a step that no sine has."""


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
