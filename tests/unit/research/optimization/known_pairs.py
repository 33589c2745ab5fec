"""Pairs whose every measure is known, for schedules that differ by a number in their centre."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from coupled_core.records import PairScores
from coupled_core.research.evaluation.pairs import EvaluatedPair
from coupled_core.research.optimization.candidates import make_schedule
from coupled_core.research.optimization.trial import Trial
from coupled_core.schedules.schedule import Schedule
from tests.unit.research.optimization.test_candidates import FITTED_ON


def make_pair(
    group: int, combined: float = 4.0, clear: float = -1.0, **fields: Any
) -> EvaluatedPair:
    """Return a pair of a group."""
    scores = PairScores(
        0.1, 0.9, -2.0, 0.9, 0.9, 90.0, combined, 0.5, 0.5, 30.0, 0.9, 100.0, 0.5, clear, 0.3
    )
    given: dict[str, Any] = {
        "scores": scores,
        "guards": (),
        "objective": combined,
        "seconds": 1.0,
        "model_evaluations": 40.0,
    }
    return EvaluatedPair("schedule", f"g{group}", 0, 0, 1, **{**given, **fields})


def schedule_worth(gain: float) -> Schedule:
    """Return a schedule whose pairs are better than those of gain 0 by so much."""
    return make_schedule("step", {"center": round(gain, 6)}, FITTED_ON)


BEFORE = schedule_worth(0.0)


def gain_of(schedule: Schedule) -> float:
    """Return what a schedule is worth."""
    value = schedule.parameters["center"]
    assert isinstance(value, float)
    return value


class KnownTrials:
    """Answers trials with J = 4 + gain + the group's own level + noise, the same every time."""

    def __init__(self, sd: float, others: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """Take the noise of paired differences, and further fields of a schedule's pairs by id."""
        self._sd, self._others = sd, others or {}
        self.groups_made: dict[tuple[str, str], int] = {}
        """Groups by side and schedule."""
        self.keys: list[str] = []

    def __call__(self, trials: Sequence[Trial]) -> list[list[EvaluatedPair]]:
        return [self._run(trial) for trial in trials]

    def _run(self, trial: Trial) -> list[EvaluatedPair]:
        if trial.key not in self.keys:
            self.keys.append(trial.key)
            key = trial.side, trial.schedule.id
            made = self.groups_made.get(key, 0)
            self.groups_made[key] = made + trial.stop - trial.start
        return [self._make(trial, group) for group in range(trial.start, trial.stop)]

    def _make(self, trial: Trial, group: int) -> EvaluatedPair:
        gain, of_finals = gain_of(trial.schedule), int(trial.side == "finals")
        own = np.random.default_rng([group, of_finals, int(1e6 * (gain + 1))]).normal(0, self._sd)
        level = np.random.default_rng([group, of_finals]).normal(0, 1.0)
        noise = own if gain else 0.0
        fields = self._others.get(trial.schedule.id, {})
        return make_pair(group + 1000 * of_finals, 4.0 + gain + level + noise, **fields)
