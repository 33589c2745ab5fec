"""Decides among the best candidates of a search, on noise that the search has not seen.

The best of many noisy figures is best partly by luck, and where a lost entity costs a hundred times
what candidates differ by, mostly by luck. So a search only nominates: its best candidates make the
training groups again, from several other noises each, and the best of *those* figures wins.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

from coupled_core.evaluation.intervals import Interval, bootstrap_mean
from coupled_core.evaluation.pairs import objectives_by_group
from coupled_core.optimization.fit_report import RunTrials
from coupled_core.optimization.schedule_search import FoundSchedule
from coupled_core.optimization.trial import Trial
from coupled_core.schedules.schedule import Schedule


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
