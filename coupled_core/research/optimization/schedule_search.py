"""Finds the schedule of a family, or of free values on knots, with the largest objective.

The published optimum (eq. 12) is over all non-decreasing sequences, one value a step. Here beta is
a function of the noise level: a family with two parameters is searched first, which a few dozen
evaluations can do, then knots from there. Every candidate is feasible by construction.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from coupled_core.config import fingerprint
from coupled_core.research.methods.method import Knobs
from coupled_core.research.optimization.schedule_space import (
    NO_EXTENSION,
    Extension,
    FittedOn,
    ScheduleSpace,
    family_space,
    knot_space,
)
from coupled_core.research.optimization.search import Evaluation, Objective, SearchResult, optimise
from coupled_core.schedules.schedule import Schedule

FIRST_FAMILY = "sine"
"""Where knots start from: of the families the one that reaches 0 and 1 and may rise slowly."""
FAMILY_SHARE = 0.4
"""Of the budget for the family that knots start from."""

EvaluateAll = Callable[[Sequence[Schedule]], Iterable[float]]
"""Returns the objective of each schedule, in order; may evaluate them side by side."""


@dataclass(frozen=True)
class Stage:
    """One search on the way to a schedule."""

    name: str
    """step, arctan, sine or knots."""
    best: Schedule
    best_knobs: Knobs
    best_objective: float
    history: tuple[Evaluation, ...]
    candidates: tuple[Schedule, ...]
    """The schedule of each evaluation."""


@dataclass(frozen=True)
class FoundSchedule:
    """The outcome of all stages."""

    best: Schedule
    best_objective: float
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class Search:
    """How candidates are evaluated and where that is remembered."""

    evaluate_all: EvaluateAll
    folder: Path
    """Of the histories, one file a stage; all in it were evaluated under the same conditions."""
    seed: int
    on_evaluation: Callable[[Evaluation], None] | None = None


def search_schedule(
    search: Search,
    fitted_on: FittedOn,
    *,
    family: str,
    budget: int,
    num_knots: int,
    extension: Extension = NO_EXTENSION,
) -> FoundSchedule:
    """Search with so many evaluations; the same call continues where an earlier one was killed.

    Args:
        search: how to evaluate.
        fitted_on: what the schedules are for.
        family: step, arctan, sine; or isotonic, for a sine and then knots.
        budget: evaluations over all stages.
        num_knots: of family isotonic.
        extension: further knobs of the mode, searched along in every stage.
    """
    if family != "isotonic":
        stages = [_run_stage(search, family_space(family, fitted_on, extension), budget)]
    else:
        num_first = min(budget, max(1, round(FAMILY_SHARE * budget)))
        first = _run_stage(search, family_space(FIRST_FAMILY, fitted_on, extension), num_first)
        stages = [first]
        if num_left := budget - num_first:
            knots = knot_space(first.best, first.best_knobs, num_knots, fitted_on, extension)
            stages.append(_run_stage(search, knots, num_left))
    # Of equals the later: for knots that are no better than their sine, the family asked for.
    best = max(reversed(stages), key=lambda stage: stage.best_objective)
    return FoundSchedule(best.best, best.best_objective, tuple(stages))


def _run_stage(search: Search, space: ScheduleSpace, budget: int) -> Stage:
    def evaluate_all(_: Objective, candidates: Sequence[Knobs]) -> Iterable[float]:
        return search.evaluate_all([space.build(knobs) for knobs in candidates])

    def evaluate(knobs: Knobs) -> float:
        return next(iter(evaluate_all(evaluate, [knobs])))

    found: SearchResult = optimise(
        space.knobs,
        evaluate,
        budget,
        seed=search.seed,
        history_path=search.folder / f"{_name_history(space)}.jsonl",
        on_evaluation=search.on_evaluation,
        map=evaluate_all,
    )
    best = space.build(found.best_knobs)
    candidates = tuple(space.build(evaluation.knobs) for evaluation in found.history)
    return Stage(
        space.name, best, found.best_knobs, found.best_objective, found.history, candidates
    )


def _name_history(space: ScheduleSpace) -> str:
    """Return a name that another box, mode or place of the knots does not share."""
    start = space.build({knob.name: knob.default for knob in space.knobs}).to_dict()
    ranges = [[knob.name, knob.low, knob.high] for knob in space.knobs]
    return f"{start['mode']}-{space.name}-{fingerprint({'start': start, 'ranges': ranges})[:8]}"
