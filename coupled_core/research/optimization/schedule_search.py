"""Finds the schedule of a family, or of free values on knots, with the largest objective.

The published optimum (eq. 12) is over all non-decreasing sequences, one value a step. Here beta is
a function of the noise level: a family with two parameters is searched first, which a few dozen
evaluations can do, then knots from there. Schedules are points of a box of knobs, and every point
makes a feasible one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import isotonic_regression

from coupled_core.config import fingerprint
from coupled_core.records import CouplingMode
from coupled_core.research.methods.coupled import REGION_KNOBS, build_region
from coupled_core.research.methods.method import Knob, Knobs
from coupled_core.research.optimization.search import Evaluation, optimise
from coupled_core.schedules.schedule import Parameters, RegionSettings, Schedule

# Layout is decided in the first moments, above sigma = 0.85. Roots and logarithms spread the box
# where small differences matter. A centre before the start lets beta be 1 from the first step on.
_CENTER = Knob(
    "center_root", -0.3, 0.9, 0.05**0.5, meaning="signed root of the time at which beta is 1/2"
)
_CENTER_IN_REGION = -0.25
"""Its default in mode region: space holds the background there, so beta need not."""
_FAMILY_KNOBS: Mapping[str, tuple[Knob, ...]] = {
    "step": (_CENTER,),
    "arctan": (
        _CENTER,
        Knob("slope_log10", 0.5, 2.5, 1.5, meaning="decimal logarithm of the slope in time"),
    ),
    "sine": (
        _CENTER,
        Knob("width_root", 0.1, 1.0, 0.1**0.5, meaning="root of the time from beta 0 to beta 1"),
    ),
}
KNOT_MARGIN = 0.25
"""Knots are searched this far beyond [0, 1] and clipped, so that a point of the box can stand for
beta exactly 0 or exactly 1: there images of a group are computed once, or one text is dropped."""
_LEAST_SPAN = 0.2
"""Least time that the knots span: what is decided early is decided by then."""
_DECIMALS = 6


@dataclass(frozen=True)
class FittedOn:
    """What every schedule of a search has in common."""

    mode: CouplingMode
    base_model: str
    base_model_revision: str
    num_inference_steps: int
    shift: float | None


@dataclass(frozen=True)
class Extension:
    """Further knobs of a mode, beside those of beta, and the settings that they make."""

    knobs: tuple[Knob, ...] = ()
    region_of: Callable[[Knobs], RegionSettings | None] = lambda _: None


NO_EXTENSION = Extension()
REGION = Extension(REGION_KNOBS, build_region)


def extension_of(mode: CouplingMode) -> Extension:
    """Return what a mode leaves open beside beta."""
    return REGION if mode == "region" else NO_EXTENSION


@dataclass(frozen=True)
class ScheduleSpace:
    """A box of schedules."""

    name: str
    """How its stage of a search is called: step, arctan, sine or knots."""
    knobs: tuple[Knob, ...]
    build: Callable[[Knobs], Schedule]
    """Makes the schedule of a point; always feasible."""


def family_space(
    family: str, fitted_on: FittedOn, extension: Extension = NO_EXTENSION
) -> ScheduleSpace:
    """Return the box of a family with one or two parameters."""

    def build(knobs: Knobs) -> Schedule:
        region = extension.region_of(knobs)
        return make_schedule(family, _to_parameters(knobs), fitted_on, region)

    center, *shape = _FAMILY_KNOBS[family]
    if fitted_on.mode == "region":
        center = replace(center, default=_CENTER_IN_REGION)
    return ScheduleSpace(family, (center, *shape, *extension.knobs), build)


def knot_space(
    start: Schedule,
    start_knobs: Knobs,
    num_knots: int,
    fitted_on: FittedOn,
    extension: Extension = NO_EXTENSION,
) -> ScheduleSpace:
    """Return the box of free values on knots, with its defaults on a sine.

    Args:
        start: a sine; the knots lie evenly over twice the time in which it rises.
        start_knobs: those that made it; its further knobs start there, too.
        num_knots: at least 3.
        fitted_on: what the schedules are for.
        extension: further knobs.
    """
    times = place_knots(start, num_knots)
    values = start.beta(1.0 - torch.tensor(times, dtype=torch.float64)).tolist()
    low, high = -KNOT_MARGIN, 1.0 + KNOT_MARGIN
    heights = [
        Knob(f"beta_{i:02d}", low, high, value, meaning=f"beta at time {time:.3f}")
        for i, (time, value) in enumerate(zip(times, values, strict=True))
    ]
    further = [replace(knob, default=start_knobs[knob.name]) for knob in extension.knobs]

    def build(knobs: Knobs) -> Schedule:
        found = project([knobs[knob.name] for knob in heights])
        parameters: Parameters = {"times": times, "values": found}
        return make_schedule("isotonic", parameters, fitted_on, extension.region_of(knobs))

    return ScheduleSpace("knots", (*heights, *further), build)


def project(values: Sequence[float]) -> tuple[float, ...]:
    """Return the nearest feasible values: non-decreasing (least squares), clipped to [0, 1]."""
    rising = isotonic_regression(np.asarray(values, dtype=np.float64)).x
    return tuple(float(round(v, _DECIMALS)) for v in np.clip(rising, 0.0, 1.0))


def place_knots(start: Schedule, num_knots: int) -> tuple[float, ...]:
    """Return times in [0, 1], evenly over twice the time in which a sine rises."""
    center, width = (float(start.parameters[name]) for name in ("center", "width"))  # type: ignore[arg-type]
    first, last = max(0.0, center - width), min(1.0, max(_LEAST_SPAN, center + width))
    times = np.linspace(first, last, num_knots)
    return tuple(float(round(time, _DECIMALS)) for time in times)


def make_schedule(
    family: str,
    parameters: Parameters,
    fitted_on: FittedOn,
    region: RegionSettings | None = None,
) -> Schedule:
    """Return a candidate."""
    return Schedule(
        family=family,
        parameters=parameters,
        mode=fitted_on.mode,
        base_model=fitted_on.base_model,
        base_model_revision=fitted_on.base_model_revision,
        optimised=True,
        note="A candidate of a search.",
        num_inference_steps=fitted_on.num_inference_steps,
        shift=fitted_on.shift,
        region=region,
    )


def _to_parameters(knobs: Knobs) -> Parameters:
    root = knobs["center_root"]
    parameters = {"center": round(root * abs(root), _DECIMALS)}
    if "width_root" in knobs:
        parameters["width"] = round(knobs["width_root"] ** 2, _DECIMALS)
    if "slope_log10" in knobs:
        parameters["slope"] = round(10.0 ** knobs["slope_log10"], _DECIMALS)
    return parameters


FIRST_FAMILY = "sine"
"""The family that knots start from: it reaches 0 and 1 and may rise slowly."""
FAMILY_SHARE = 0.4
"""Share of the budget for the family that knots start from."""

EvaluateSchedules = Callable[[Sequence[Schedule]], Iterable[float]]
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

    evaluate_all: EvaluateSchedules
    folder: Path
    """Where the histories lie, one file a stage, all evaluated under the same conditions."""
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
    # The later of equals wins: knots, the family asked for, where they are no better than a sine.
    best = max(reversed(stages), key=lambda stage: stage.best_objective)
    return FoundSchedule(best.best, best.best_objective, tuple(stages))


def _run_stage(search: Search, space: ScheduleSpace, budget: int) -> Stage:
    def evaluate_all(candidates: Sequence[Knobs]) -> Iterable[float]:
        return search.evaluate_all([space.build(knobs) for knobs in candidates])

    found = optimise(
        space.knobs,
        evaluate_all,
        budget,
        seed=search.seed,
        history_path=search.folder / f"{_name_history(space)}.jsonl",
        on_evaluation=search.on_evaluation,
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
