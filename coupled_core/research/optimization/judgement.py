"""How good a found schedule is: finals on other noise, then prompts that the search did not see."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from coupled_core.research.evaluation.intervals import (
    Interval,
    bootstrap_difference,
    bootstrap_mean,
)
from coupled_core.research.evaluation.pairs import (
    FLOOR_OBJECTIVE,
    EvaluatedPair,
    objectives_by_group,
)
from coupled_core.research.optimization.schedule_search import FoundSchedule
from coupled_core.research.optimization.trial import Side, Trial
from coupled_core.schedules.schedule import Schedule

RunTrials = Callable[[Sequence[Trial]], Sequence[list[EvaluatedPair]]]
"""Returns the pairs of each trial, in order."""


@dataclass(frozen=True)
class ScheduleScores:
    """How a schedule does on one side of the prompts."""

    objective: Interval
    """Mean of J over groups; pairs whose guard fired count `FLOOR_OBJECTIVE`."""
    guarded_fraction: float
    """Pairs whose guard fired, [0, 1]."""
    background_similarity: float | None
    """Mean S of the other pairs; None: there are none."""
    alignment: float | None
    """Mean T of the other pairs."""
    model_evaluations: float
    """Rows through the transformer a pair."""
    num_pairs: int


@dataclass(frozen=True)
class ScheduleComparison:
    """The found schedule against another one, on the validation groups."""

    schedule_id: str
    family: str
    note: str
    validation: ScheduleScores
    difference: Interval
    """J of the found schedule less that of the other, paired by group."""


@dataclass(frozen=True)
class AtSteps:
    """The found schedule at another number of steps, on the validation groups."""

    num_inference_steps: int
    validation: ScheduleScores
    difference: Interval
    """J less that at the step count of the search, paired by group."""


@dataclass(frozen=True)
class FitReport:
    """What a schedule file says about its quality."""

    train: ScheduleScores
    """Optimistic: the schedule was chosen by it."""
    validation: ScheduleScores
    against: ScheduleComparison | None
    """None: there is nothing to compare with."""
    at_steps: tuple[AtSteps, ...]
    floor_objective: float = FLOOR_OBJECTIVE

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        plain = asdict(self)
        return {**plain, "at_steps": list(plain["at_steps"])}


def list_trials(
    found: Schedule, against: Schedule | None, check_steps: Sequence[int]
) -> Mapping[tuple[str, Side, int | None], Trial]:
    """Return all that a report needs, by (found or against, side, steps)."""
    trials: dict[tuple[str, Side, int | None], Trial] = {
        ("found", "train", None): Trial(found, "train"),
        ("found", "validation", None): Trial(found, "validation"),
    }
    if against is not None:
        trials["against", "validation", None] = Trial(against, "validation")
    for steps in check_steps:
        own = steps == found.num_inference_steps
        trial = Trial(found, "validation", None if own else steps)
        trials["found", "validation", steps] = trial
    return trials


def judge_schedule(
    found: Schedule, against: Schedule | None, check_steps: Sequence[int], run: RunTrials
) -> FitReport:
    """Run what is needed and report.

    Args:
        found: what a search found.
        against: what was used before, for the same model and mode.
        check_steps: step counts to try.
        run: evaluates trials.
    """
    trials = list_trials(found, against, check_steps)
    pairs = dict(zip(trials, run(list(trials.values())), strict=True))
    own = pairs["found", "validation", None]
    return FitReport(
        train=summarise_pairs(pairs["found", "train", None]),
        validation=summarise_pairs(own),
        against=_compare(own, pairs["against", "validation", None], against) if against else None,
        at_steps=tuple(
            AtSteps(steps, summarise_pairs(other), _difference(other, own))
            for (who, _, steps), other in pairs.items()
            if who == "found" and steps is not None
        ),
    )


def summarise_pairs(pairs: Sequence[EvaluatedPair]) -> ScheduleScores:
    """Return the figures of one trial."""
    good = [pair.scores for pair in pairs if pair.scores is not None and not pair.guards]
    return ScheduleScores(
        objective=bootstrap_mean(objectives_by_group(pairs)),
        guarded_fraction=1.0 - len(good) / len(pairs),
        background_similarity=_mean([scores.background_similarity for scores in good]),
        alignment=_mean([scores.alignment for scores in good]),
        model_evaluations=float(np.mean([pair.model_evaluations for pair in pairs])),
        num_pairs=len(pairs),
    )


def _compare(
    own: Sequence[EvaluatedPair], other: Sequence[EvaluatedPair], schedule: Schedule
) -> ScheduleComparison:
    return ScheduleComparison(
        schedule_id=schedule.id,
        family=schedule.family,
        note=schedule.note,
        validation=summarise_pairs(other),
        difference=_difference(own, other),
    )


def _difference(a: Sequence[EvaluatedPair], b: Sequence[EvaluatedPair]) -> Interval:
    return bootstrap_difference(objectives_by_group(a), objectives_by_group(b))


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


@dataclass(frozen=True)
class Finalist:
    """A nominated schedule."""

    schedule: Schedule
    searched: float
    """J on the noise that the search saw."""
    fresh: Interval
    """J over the training groups, each made from every other noise."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        content = self.schedule.to_dict()
        shown: dict[str, Any] = {
            name: content[name] for name in ("family", "parameters", "region") if name in content
        }
        return {**shown, "searched": self.searched, "fresh": asdict(self.fresh)}


def nominate(found: FoundSchedule, num_finalists: int) -> list[tuple[Schedule, float]]:
    """Return the candidates with the largest J, best first, and the very first one, with J.

    The first candidate is the family's default: where nothing better was found, it may win.
    """
    objectives: dict[str, tuple[Schedule, float]] = {}
    for stage in found.stages:
        for schedule, evaluation in zip(stage.candidates, stage.history, strict=True):
            objectives.setdefault(schedule.id, (schedule, evaluation.objective))
    first, *others = objectives.values()
    others.sort(key=lambda one: -one[1])
    chosen = [*others[: max(0, num_finalists - 1)], first]
    return sorted(chosen, key=lambda one: -one[1])


def hold_finals(
    found: FoundSchedule, num_finalists: int, num_noises: int, run: RunTrials
) -> tuple[FoundSchedule, tuple[Finalist, ...]]:
    """Return what was found with the winner as its best, and the finalists, best first.

    Args:
        found: by a search.
        num_finalists: 1: what the search found has won.
        num_noises: noises a training group, beside that of the search.
        run: evaluates trials.
    """
    if num_finalists == 1:
        return found, ()
    nominated = nominate(found, num_finalists)
    trials = [
        Trial(schedule, "train", noise=noise)
        for schedule, _ in nominated
        for noise in range(1, num_noises + 1)
    ]
    pairs = iter(run(trials))
    finalists = []
    for schedule, searched in nominated:
        of_all_noises = [pair for _ in range(num_noises) for pair in next(pairs)]
        fresh = bootstrap_mean(objectives_by_group(of_all_noises))
        finalists.append(Finalist(schedule, searched, fresh))
    finalists.sort(key=lambda finalist: -finalist.fresh.mean)
    winner = finalists[0]
    best = replace(found, best=winner.schedule, best_objective=winner.searched)
    return best, tuple(finalists)
