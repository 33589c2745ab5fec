"""Ours with one thing changed: what ablations and the curve of ours are made of.

Where ours couples over space, what concerns beta over time is taken apart in mode `log_bias`: in a
region beta may be 1 throughout, and nothing would change.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

import torch

from coupled_core.coupling.ablation import THE_METHOD, Ablation
from coupled_core.errors import ConfigError, ScheduleError
from coupled_core.generation.generator import GroupGenerator
from coupled_core.generation.model_files import KnownModel
from coupled_core.records import CouplingMode, EntityText
from coupled_core.research.methods.coupled import CoupledMethod
from coupled_core.research.methods.method import Knob, Knobs, Method
from coupled_core.schedules.schedule import Parameters, RegionSettings, Schedule

SHIFT_KNOB = Knob("shift", -0.1, 0.4, 0.0, meaning="time by which the schedule rises later")
SIZE_KNOB = Knob(
    "size", 0.02, 0.4, RegionSettings().size, meaning="share of the tokens that one entity gets"
)

_CENTERS = (-0.05, 0.0, 0.05, 0.15, 0.3)  # added to the centre of the schedule
_WIDTHS = (0.5, 1.0, 2.0, 4.0)  # times its width
_DELAYS = (-0.1, -0.05, 0.05, 0.1)
_PULLS = ((0.3, 0.05), (0.3, 0.15), (0.3, 0.4), (0.8, 0.05), (0.8, 0.15))
_PREFIXES = (0.0, 0.02, 0.05, 0.1, 0.2)
_NOTE = "A variant of another schedule, to take it apart."
_NUM_KNOTS = 201
_MIN_WIDTH = 0.02
_TIME_MODE: CouplingMode = "log_bias"
_REGION_VALUES: Mapping[str, tuple[float, ...]] = {
    "size": (0.02, 0.04, 0.07, 0.2, 1.0),
    "margin": (0.0, 0.03, 0.125),
    "feather": (0.0, 0.03, 0.125),
    "read_until": (0.98, 0.9, 0.8, 0.4, 0.2),
    "matte": (0.0, 0.035, 0.14),
}
_REGION_CENTERS = (0.02, 0.05, 0.1, 0.2)


@dataclass(frozen=True)
class Variant:
    """Ours with another schedule or another text in the entity stream."""

    subject: str
    """What is ablated."""
    value: str
    schedule: Schedule
    entity_text: EntityText | None = None
    """None: that of the settings."""
    ablation: Ablation = THE_METHOD
    """Which parts of a coupled step differ."""

    @property
    def name(self) -> str:
        """Subject and value, as tables show them."""
        return f"{self.subject}: {self.value}"

    def describe(self) -> dict[str, Any]:
        """Return what decides its images, JSON values."""
        text, parts = self.entity_text, asdict(self.ablation)
        return {"schedule": self.schedule.id, "entity_text": text, "ablation": parts}


def list_variants(schedule: Schedule, base_model: KnownModel) -> list[Variant]:
    """Return every ablation of a schedule, by subject.

    Subjects that end in ", in MODE" are to be held against the variant "mode: MODE", the others
    against ours as it is.

    Args:
        schedule: that of ours.
        base_model: for which schedules are shipped.
    """
    modes, suffix = list(_vary_mode(base_model)), ""
    over_time = schedule
    if schedule.mode == "region":
        suffix = f", in {_TIME_MODE}"
        over_time = base_model.load_schedule(_TIME_MODE)
    found = [
        *_vary_family(over_time),
        *_vary_center_and_width(over_time),
        *_vary_prefix(over_time),
        *_vary_parts(over_time),
    ]
    in_time = [replace(variant, subject=f"{variant.subject}{suffix}") for variant in found]
    return [*modes, *_vary_region(schedule), *in_time]


def build_variant(method: Method, variant: Variant) -> CoupledMethod:
    """Return ours, on its loaded model, with what the variant changes."""

    def retune(original: GroupGenerator, _: Knobs) -> GroupGenerator:
        return original.with_schedule(
            variant.schedule, variant.entity_text, ablation=variant.ablation
        )

    return _with_retune(method, retune, ())


def knob_of_ours(schedule: Schedule) -> Knob:
    """Return what the curve of ours follows where ours names no main knob of its own."""
    return SIZE_KNOB if schedule.region is not None else SHIFT_KNOB


def build_along(method: Method, schedule: Schedule) -> CoupledMethod:
    """Return ours with `knob_of_ours` as its one knob."""
    knob = knob_of_ours(schedule)

    def retune(original: GroupGenerator, knobs: Knobs) -> GroupGenerator:
        value = knobs[knob.name]
        if schedule.region is None:
            return original.with_schedule(shift_schedule(schedule, value))
        return original.with_schedule(resize_region(schedule, size=value))

    return _with_retune(method, retune, (knob,))


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


def resize_region(schedule: Schedule, **changes: float) -> Schedule:
    """Return a schedule of mode region with other `RegionSettings`."""
    region = replace(schedule.region or RegionSettings(), **changes)
    return replace(schedule, region=region, optimised=False, note=_NOTE, fit=None)


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


def _vary_mode(base_model: KnownModel) -> Iterator[Variant]:
    """Each mode with the schedule shipped for it: one of another mode would not be fair."""
    for mode in get_args(CouplingMode):
        try:
            yield Variant("mode", mode, base_model.load_schedule(mode))
        except ScheduleError:  # none is shipped for this model in this mode
            continue


def _vary_region(schedule: Schedule) -> Iterator[Variant]:
    """Change a setting, the start or the text of a region; nothing for modes without one."""
    if schedule.region is None:
        return
    for name, values in _REGION_VALUES.items():
        for value in values:
            changed = resize_region(schedule, **{name: value})
            yield Variant(f"region {name.replace('_', ' ')}", f"{value:g}", changed)
    for center in _REGION_CENTERS:
        later = _revise(schedule, "step", {"center": center})
        yield Variant("beta in the region", f"0 until t = {center:g}, then 1", later)
    yield Variant("entity stream", "reads e_i", schedule, "entity_prompt")


def _vary_parts(schedule: Schedule) -> Iterator[Variant]:
    """Change the parts of a step with 0 < beta < 1, and what the entity stream reads."""
    apart, whole = Ablation(texts_meet=False), Ablation(pooled_of_entity=True)
    yield Variant("background and entity text", "do not meet", schedule, ablation=apart)
    yield Variant("pooled vector", "of the entity stream", schedule, ablation=whole)
    joint = Ablation(blend_in_single=False)
    yield Variant("single-stream blocks", "weigh logits", schedule, ablation=joint)
    for delay in _DELAYS:
        value = f"single-stream blocks {abs(delay):g} {'later' if delay > 0 else 'earlier'}"
        yield Variant("block types", value, schedule, ablation=Ablation(single_delay=delay))
    for strength, until in _PULLS:
        value = f"strength {strength:g} until t = {until:g}"
        pulled = Ablation(pull=strength, pull_until=until)
        yield Variant("latent pull", value, schedule, ablation=pulled)
    yield Variant("entity stream", "reads e_i", schedule, "entity_prompt")


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
    return replace(
        schedule, family=family, parameters=parameters, optimised=False, note=_NOTE, fit=None
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
