"""The finals on a made-up objective whose luck is known."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from coupled_core.research.evaluation.pairs import EvaluatedPair
from coupled_core.research.optimization.judgement import hold_finals, nominate
from coupled_core.research.optimization.schedule_search import (
    FoundSchedule,
    Search,
    search_schedule,
)
from coupled_core.research.optimization.trial import Trial
from coupled_core.schedules.schedule import Schedule
from tests.unit.research.optimization.test_schedule_search import FITTED_ON

NUM_GROUPS = 4


def center_of(schedule: Schedule) -> float:
    value = schedule.parameters["center"]
    assert isinstance(value, float)
    return value


def lucky(schedules: Sequence[Schedule]) -> Iterable[float]:
    """Rise with the centre on the noise of the search."""
    for schedule in schedules:
        yield center_of(schedule)


def run(trials: Sequence[Trial]) -> list[list[EvaluatedPair]]:
    """Fall with the centre on every other noise, by an amount that depends on the noise."""
    return [
        [
            EvaluatedPair(
                "schedule",
                f"group-{index}",
                trial.noise,
                0,
                1,
                None,
                (),
                index - trial.noise * center_of(trial.schedule),
                1.0,
                40.0,
            )
            for index in range(NUM_GROUPS)
        ]
        for trial in trials
    ]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> FoundSchedule:
    folder: Path = tmp_path_factory.mktemp("state")
    search = Search(lucky, folder, seed=3)
    return search_schedule(search, FITTED_ON, family="step", budget=20, num_knots=8)


def test_the_best_candidates_and_the_first_are_nominated_best_first(found: FoundSchedule) -> None:
    objectives = [evaluation.objective for evaluation in found.stages[0].history]
    nominated = [objective for _, objective in nominate(found, 5)]
    assert sorted(nominated, reverse=True) == nominated
    assert set(nominated) == {*sorted(set(objectives))[-4:], objectives[0]}


def test_the_winner_is_the_best_on_fresh_noise_however_lucky_others_were(
    found: FoundSchedule,
) -> None:
    best, finalists = hold_finals(found, 4, 3, run)
    assert best.best.id == finalists[0].schedule.id != found.best.id
    assert best.best_objective == finalists[0].searched < found.best_objective
    assert [finalist.fresh.mean for finalist in finalists] == pytest.approx(
        [1.5 - 2.0 * center_of(finalist.schedule) for finalist in finalists]
    )
    assert {finalist.fresh.count for finalist in finalists} == {NUM_GROUPS}


def test_without_finals_the_search_decides(found: FoundSchedule) -> None:
    assert hold_finals(found, 1, 3, run) == (found, ())
