"""Ours with one thing changed: the schedules and texts behind ablations and the curve of ours.

What the sampler offers no switch for is listed in `ablations.NOT_OFFERED`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

import torch

from coupled_core.config import CouplingMode, EntityText
from coupled_core.errors import ConfigError, ScheduleError
from coupled_core.generation.generator import GroupGenerator
from coupled_core.methods.method import Knob, Knobs, Method
from coupled_core.methods.ours import CoupledMethod
from coupled_core.schedules.schedule import Parameters, Schedule
from coupled_core.schedules.shipped import load_shipped_schedule

SHIFT_KNOB = Knob("shift", -0.1, 0.4, 0.0, meaning="time by which the schedule rises later")
"""What the curve of ours follows where ours names no main knob of its own."""

_CENTERS = (-0.05, 0.0, 0.05, 0.15, 0.3)  # added to the centre of the schedule
_WIDTHS = (0.5, 1.0, 2.0, 4.0)  # times its width
_PREFIXES = (0.0, 0.02, 0.05, 0.1, 0.2)
_NUM_KNOTS = 201
_MIN_WIDTH = 0.02


@dataclass(frozen=True)
class Variant:
    """Ours with another schedule or another text in the entity stream."""

    subject: str
    """What is ablated."""
    value: str
    schedule: Schedule
    entity_text: EntityText | None = None
    """None: that of the settings."""

    @property
    def name(self) -> str:
        """Subject and value, as tables show them."""
        return f"{self.subject}: {self.value}"

    def describe(self) -> dict[str, Any]:
        """Return what decides its images, JSON values."""
        return {"schedule": self.schedule.id, "entity_text": self.entity_text}


def list_variants(schedule: Schedule, schedule_name: str) -> list[Variant]:
    """Return every ablation of a schedule, by subject.

    Args:
        schedule: that of ours.
        schedule_name: under which schedules for its model are shipped.
    """
    return [
        *_vary_family(schedule),
        *_vary_center_and_width(schedule),
        *_vary_mode(schedule_name),
        *_vary_entity_text(schedule),
        *_vary_prefix(schedule),
    ]


def build_variant(method: Method, variant: Variant) -> CoupledMethod:
    """Return ours, on its loaded model, with what the variant changes."""

    def retune(original: GroupGenerator, _: Knobs) -> GroupGenerator:
        return original.with_schedule(variant.schedule, variant.entity_text)

    return _with_retune(method, retune, ())


def build_shifted(method: Method, schedule: Schedule) -> CoupledMethod:
    """Return ours with `SHIFT_KNOB` as its one knob."""

    def retune(original: GroupGenerator, knobs: Knobs) -> GroupGenerator:
        return original.with_schedule(shift_schedule(schedule, knobs[SHIFT_KNOB.name]))

    return _with_retune(method, retune, (SHIFT_KNOB,))


def shift_schedule(schedule: Schedule, by: float) -> Schedule:
    """Return a schedule that does everything later.

    Args:
        schedule: of any family.
        by: time t = 1 - sigma; negative: earlier.
    """
    old = schedule.parameters
    if schedule.family == "isotonic":
        times = tuple(time + by for time in _numbers(old["times"]))
        return _revise(schedule, "isotonic", {**old, "times": times})
    (center,) = _numbers(old["center"])
    return _revise(schedule, schedule.family, {**old, "center": center + by})


def measure_rise(schedule: Schedule) -> tuple[float, float]:
    """Return when a schedule passes 1/2, and the time from 0 to 1 of a sine as steep as it."""
    times = torch.linspace(0.0, 1.0, 1001, dtype=torch.float64)
    beta = schedule.beta(1.0 - times)
    first = [float(times[(beta >= level).nonzero()[:1]].sum()) for level in (0.25, 0.5, 0.75)]
    # A sine needs a third of its width from 1/4 to 3/4.
    return round(first[1], 4), round(max(3.0 * (first[2] - first[0]), _MIN_WIDTH), 4)


def _vary_family(schedule: Schedule) -> Iterator[Variant]:
    """Keep the centre and, at the centre, the slope."""
    center, width = measure_rise(schedule)
    families: Mapping[str, Parameters] = {
        "step": {"center": center},
        "arctan": {"center": center, "slope": torch.pi**2 / (2.0 * width)},
        "sine": {"center": center, "width": width},
    }
    for family, parameters in families.items():
        shown = ", ".join(f"{k} {v:.3g}" for k, v in parameters.items())
        yield Variant("family", f"{family} ({shown})", _revise(schedule, family, parameters))


def _vary_center_and_width(schedule: Schedule) -> Iterator[Variant]:
    center, width = measure_rise(schedule)
    for offset in _CENTERS:
        for factor in _WIDTHS:
            parameters = {"center": center + offset, "width": width * factor}
            value = f"center {parameters['center']:.3f}, width {parameters['width']:.3f}"
            yield Variant("sine", value, _revise(schedule, "sine", parameters))


def _vary_mode(schedule_name: str) -> Iterator[Variant]:
    """Each mode with the schedule shipped for it: one of another mode would not be fair."""
    for mode in get_args(CouplingMode):
        try:
            yield Variant("mode", mode, load_shipped_schedule(schedule_name, mode))
        except ScheduleError:  # none is shipped for this model in this mode
            continue


def _vary_entity_text(schedule: Schedule) -> Iterator[Variant]:
    for text in get_args(EntityText):
        yield Variant("entity stream reads", text, schedule, text)


def _vary_prefix(schedule: Schedule) -> Iterator[Variant]:
    """Hold beta at exactly 0 at first: those steps are computed once for all images of a group."""
    times = torch.linspace(0.0, 1.0, _NUM_KNOTS, dtype=torch.float64)
    beta = schedule.beta(1.0 - times)
    for length in _PREFIXES:
        held = torch.where(times < length, 0.0, beta)
        parameters = {"times": tuple(times.tolist()), "values": tuple(held.tolist())}
        value = f"beta 0 until t = {length:g}"
        yield Variant("prefix", value, _revise(schedule, "isotonic", parameters))


def _revise(schedule: Schedule, family: str, parameters: Parameters) -> Schedule:
    note = "A variant of another schedule, to take it apart."
    return replace(
        schedule, family=family, parameters=parameters, optimised=False, note=note, fit=None
    )


def _with_retune(
    method: Method,
    retune: Callable[[GroupGenerator, Knobs], GroupGenerator],
    knobs: tuple[Knob, ...],
) -> CoupledMethod:
    if not isinstance(method, CoupledMethod):
        raise ConfigError(f"expected a coupled method to vary; got {method.name}")
    main = knobs[0].name if knobs else None
    return replace(method, retune=retune, knobs=knobs, main_knob=main)


def _numbers(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)
