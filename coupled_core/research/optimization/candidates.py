"""The schedules that a race begins with: points of a box around the schedule in use.

The published optimum (eq. 12) is over all non-decreasing sequences, one value a step. Here beta is
a function of the noise level, of a family with one or two parameters or free on knots. In mode
region it is the region that matters; there beta stays as it is unless a family is named.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import isotonic_regression
from scipy.stats import qmc

from coupled_core.records import CouplingMode
from coupled_core.research.methods.coupled import REGION_KNOBS, build_region
from coupled_core.research.methods.method import Knob, Knobs
from coupled_core.research.optimization.settings import ScheduleFamily
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
"""Heights of knots move by up to this much from a sine, and are clipped to [0, 1]: so beta can be
exactly 0 or exactly 1, where images of a group are computed once, or one text is dropped."""
_LEAST_SPAN = 0.2
"""Least time that the knots span: what is decided early is decided by then."""
_DECIMALS = 6


@dataclass(frozen=True)
class FittedOn:
    """What every schedule of a race has in common."""

    mode: CouplingMode
    base_model: str
    base_model_revision: str
    num_inference_steps: int
    shift: float | None


@dataclass(frozen=True)
class ScheduleSpace:
    """A box of schedules."""

    knobs: tuple[Knob, ...]
    build: Callable[[Knobs], Schedule]
    """Makes the schedule of a point; always feasible."""

    @property
    def default(self) -> Schedule:
        """The schedule in the middle of what is drawn."""
        return self.build({knob.name: knob.default for knob in self.knobs})

    def draw(self, count: int, spread: float, seed: int) -> Iterator[Schedule]:
        """Yield schedules that fill the box evenly (a scrambled Sobol sequence).

        Args:
            count: how many; the first ones are the same whatever the count.
            spread: share of each knob's range to draw from, around its default; (0, 1].
            seed: of the sequence.
        """
        sequence = qmc.Sobol(len(self.knobs), rng=np.random.default_rng(seed))
        # Drawn in powers of two, for which the sequence is even.
        points = sequence.random_base2(max(1, (count - 1).bit_length()))[:count]
        for point in points:
            yield self.build(
                {
                    knob.name: _place(knob, float(x), spread)
                    for knob, x in zip(self.knobs, point, strict=True)
                }
            )


def _place(knob: Knob, x: float, spread: float) -> float:
    """Return a value at x in [0, 1] of the part of a knob's range that is drawn from."""
    width = spread * (knob.high - knob.low)
    low = min(max(knob.default - width / 2, knob.low), knob.high - width)
    return low + x * width


def draw_candidates(
    fitted_on: FittedOn,
    before: Schedule | None,
    *,
    family: ScheduleFamily | None,
    num_knots: int,
    count: int,
    spread: float,
    seed: int,
) -> tuple[Schedule, ...]:
    """Return candidates, all different; more of them begin with the same ones.

    Args:
        fitted_on: what they are for.
        before: the schedule in use; its region is the middle of the box. None: there is none.
        family: of beta; None: isotonic, or in mode region the beta of `before`.
        num_knots: of family isotonic.
        count: how many.
        spread: share of each knob's range to draw from.
        seed: of the sequence.
    """
    space = open_space(fitted_on, before, family, num_knots)
    drawn = [space.default, *space.draw(count, spread, seed)]
    unique = {schedule.id: schedule for schedule in drawn}
    if before is not None:
        unique.pop(_as_candidate(before, fitted_on).id, None)
    return tuple(unique.values())[:count]


def open_space(
    fitted_on: FittedOn, before: Schedule | None, family: ScheduleFamily | None, num_knots: int
) -> ScheduleSpace:
    """Return the box of candidates."""
    region_knobs: tuple[Knob, ...] = ()
    if fitted_on.mode == "region":
        start = (before.region if before else None) or RegionSettings()
        region_knobs = tuple(
            replace(knob, default=float(getattr(start, knob.name))) for knob in REGION_KNOBS
        )
        if family is None:
            return _region_space(fitted_on, before, region_knobs)
    own = _FAMILY_KNOBS["sine" if family in (None, "isotonic") else family]
    if fitted_on.mode == "region":
        own = (replace(own[0], default=_CENTER_IN_REGION), *own[1:])
    if family not in (None, "isotonic"):
        return _family_space(str(family), fitted_on, own, region_knobs)
    return _knot_space(fitted_on, own, region_knobs, num_knots)


def _region_space(
    fitted_on: FittedOn, before: Schedule | None, knobs: tuple[Knob, ...]
) -> ScheduleSpace:
    family = before.family if before else "step"
    parameters = before.parameters if before else {"center": -(_CENTER_IN_REGION**2)}

    def build(point: Knobs) -> Schedule:
        return make_schedule(family, parameters, fitted_on, build_region(point))

    return ScheduleSpace(knobs, build)


def _family_space(
    family: str, fitted_on: FittedOn, own: tuple[Knob, ...], region_knobs: tuple[Knob, ...]
) -> ScheduleSpace:
    def build(point: Knobs) -> Schedule:
        region = build_region(point) if region_knobs else None
        return make_schedule(family, _to_parameters(point), fitted_on, region)

    return ScheduleSpace((*own, *region_knobs), build)


def _knot_space(
    fitted_on: FittedOn, own: tuple[Knob, ...], region_knobs: tuple[Knob, ...], num_knots: int
) -> ScheduleSpace:
    """Return the box of sines whose heights at knots are moved."""
    heights = tuple(
        Knob(f"move_{i:02d}", -KNOT_MARGIN, KNOT_MARGIN, 0.0, meaning="added to beta at a knot")
        for i in range(num_knots)
    )

    def build(point: Knobs) -> Schedule:
        sine = make_schedule("sine", _to_parameters(point), fitted_on, _NO_REGION[fitted_on.mode])
        times = place_knots(sine, num_knots)
        values = sine.beta(1.0 - torch.tensor(times, dtype=torch.float64)).tolist()
        moved = [value + point[knob.name] for value, knob in zip(values, heights, strict=True)]
        parameters: Parameters = {"times": times, "values": project(moved)}
        region = build_region(point) if region_knobs else None
        return make_schedule("isotonic", parameters, fitted_on, region)

    return ScheduleSpace((*own, *heights, *region_knobs), build)


_NO_REGION: Mapping[str, RegionSettings | None] = {
    "region": RegionSettings(), "log_bias": None, "key_scale": None
}  # fmt: skip


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
        note="A candidate of a race.",
        num_inference_steps=fitted_on.num_inference_steps,
        shift=fitted_on.shift,
        region=region,
    )


def _as_candidate(schedule: Schedule, fitted_on: FittedOn) -> Schedule:
    """Return what makes the same images and would be drawn as a candidate."""
    return make_schedule(schedule.family, schedule.parameters, fitted_on, schedule.region)


def _to_parameters(knobs: Knobs) -> Parameters:
    root = knobs["center_root"]
    parameters = {"center": round(root * abs(root), _DECIMALS)}
    if "width_root" in knobs:
        parameters["width"] = round(knobs["width_root"] ** 2, _DECIMALS)
    if "slope_log10" in knobs:
        parameters["slope"] = round(10.0 ** knobs["slope_log10"], _DECIMALS)
    return parameters
