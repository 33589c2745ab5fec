"""The coupled methods behind the same interface as the baselines: one a mode, and the default."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from diffusers import FluxTransformer2DModel

from coupled_core.generation.generator import GroupGenerator, generate_alike
from coupled_core.generation.sampler import OnStep
from coupled_core.records import CouplingMode, EntityText, GeneratedSample, Rejection, Sample
from coupled_core.research.methods.method import Knob, Knobs, MethodOutput, check_knobs
from coupled_core.research.methods.stock import StockModel
from coupled_core.schedules.schedule import RegionSettings, Schedule

_START = RegionSettings()
_DECIMALS = 6

REGION_KNOBS = (
    Knob("size", 0.02, 0.25, _START.size, meaning="share of the tokens that one entity gets"),
    Knob("margin", 0.0, 0.2, _START.margin, meaning="rim around it, share of the shorter side"),
    Knob("feather", 0.0, 0.2, _START.feather, meaning="soft edge, share of the shorter side"),
    Knob("read_until", 0.3, 1.0, _START.read_until, meaning="least sigma at which it is read"),
    Knob("matte", 0.0, 0.2, _START.matte, meaning="difference that makes a pixel the image's own"),
)


def build_region(knobs: Knobs) -> RegionSettings:
    """Return the settings that these knobs, among others, describe."""
    chosen = {knob.name: round(float(knobs[knob.name]), _DECIMALS) for knob in REGION_KNOBS}
    return RegionSettings(**chosen)


SINE_KNOBS = (
    Knob("center", -0.05, 0.6, 0.05, meaning="time t = 1 - sigma at which beta is 1/2"),
    Knob("width", 0.01, 0.6, 0.1, meaning="time that beta takes from 0 to 1"),
)
# In the region the full prompt is at work from the first step: space holds the background.
_SINE_KNOBS_IN_REGION = (replace(SINE_KNOBS[0], default=-0.05), SINE_KNOBS[1])

Retune = Callable[[GroupGenerator, Knobs], GroupGenerator]
"""Returns a generator on the same loaded model that the knobs describe."""


@dataclass(frozen=True)
class CoupledMethod:
    """One way of coupling; `methods.method.Method` says what the attributes mean."""

    name: str
    generator: GroupGenerator
    transformer: FluxTransformer2DModel
    """The generator's, on which rows are counted."""
    retune: Retune
    knobs: tuple[Knob, ...] = ()
    main_knob: str | None = None

    def generate(
        self, samples: Sequence[Sample], knobs: Knobs, on_step: OnStep | None = None
    ) -> list[MethodOutput | Rejection]:
        """Make the images of one batch.

        Samples of another number of images are denoised apart, so that each one's share of the
        model's work is known.

        Raises:
            ConfigError: a knob is missing or unknown.
            ScheduleError: the knobs make no schedule.
        """
        check_knobs(self.name, self.knobs, knobs)
        generator = self.retune(self.generator, knobs)

        def generate_size(alike: list[Sample], _: object) -> list[MethodOutput | Rejection]:
            with counted_tokens(self.transformer) as calls:
                made = generator.generate(alike, on_step)
            evaluations = count_rows(calls) / len(alike)
            return [_price(one, evaluations) for one in made]

        return generate_alike(
            samples,
            lambda sample: (len(sample.group.prompts), sample.group.width, sample.group.height),
            generate_size,
        )


def build_default(model: StockModel) -> CoupledMethod:
    """Return what a build does: the schedule of the settings, or the one shipped for the model."""
    return CoupledMethod("coupled", model.generator, model.transformer, lambda same, _: same)


def build_mode(
    model: StockModel,
    mode: CouplingMode,
    name: str | None = None,
    entity_text: EntityText | None = None,
) -> CoupledMethod:
    """Return coupling by a sine schedule in one mode.

    Args:
        model: the loaded pipeline.
        mode: of the schedule.
        name: of the method; None: after its mode.
        entity_text: what the entity stream reads; None: what the settings say.
    """

    def retune(original: GroupGenerator, knobs: Knobs) -> GroupGenerator:
        return original.with_schedule(_make_schedule(original, mode, knobs), entity_text)

    return CoupledMethod(
        name=name or f"coupled-{mode.replace('_', '-')}",
        generator=model.generator,
        transformer=model.transformer,
        retune=retune,
        knobs=(*REGION_KNOBS, *_SINE_KNOBS_IN_REGION) if mode == "region" else SINE_KNOBS,
        main_knob="size" if mode == "region" else "center",
    )


build_log_bias = partial(build_mode, mode="log_bias")
build_key_scale = partial(build_mode, mode="key_scale")
build_region_mode = partial(build_mode, mode="region")
build_published = partial(
    build_mode, mode="key_scale", name="published-form", entity_text="entity_prompt"
)
"""The paper's: scaled keys, and the entity's prompt alone in the entity stream."""


def _make_schedule(generator: GroupGenerator, mode: CouplingMode, knobs: Knobs) -> Schedule:
    return Schedule(
        family="sine",
        parameters={knob.name: float(knobs[knob.name]) for knob in SINE_KNOBS},
        mode=mode,
        base_model=generator.provenance.base_model,
        base_model_revision=generator.provenance.base_model_revision,
        optimised=False,
        note="a point of the sine family",
        region=build_region(knobs) if mode == "region" else None,
    )


@contextmanager
def counted_tokens(transformer: FluxTransformer2DModel) -> Iterator[list[tuple[int, int]]]:
    """Yield a list that grows by (rows, image tokens a row) with every call of the transformer."""
    calls: list[tuple[int, int]] = []

    def count(_: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        num_rows, num_tokens, _channels = kwargs["hidden_states"].shape
        calls.append((num_rows, num_tokens))

    hook = transformer.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield calls
    finally:
        hook.remove()


def count_rows(calls: Sequence[tuple[int, int]]) -> float:
    """Return how many whole rows that is.

    Mode region computes an entity's tokens alone once it knows them: such a row counts by its
    tokens. Each group has a step with whole rows before.
    """
    whole = max((num_tokens for _, num_tokens in calls), default=1)
    return sum(num_rows * num_tokens / whole for num_rows, num_tokens in calls)


def _price(outcome: GeneratedSample | Rejection, evaluations: float) -> MethodOutput | Rejection:
    if isinstance(outcome, Rejection):
        return outcome
    return MethodOutput(
        outcome.images,
        outcome.generate_seconds,
        evaluations,
        regions=outcome.regions,
        crop_evidence=outcome.crop_evidence,
    )
