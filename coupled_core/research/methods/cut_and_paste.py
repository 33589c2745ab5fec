"""The control that needs no coupling at all: cut the entities out of stock images, paste them.

Each full prompt and the background prompt are made singly from the sample's noise; the entity
finder of the scores cuts each entity out, and it is pasted on the background where it stood.
Backgrounds agree to the last bit, and shadows, reflections and light do not fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from coupled_core.generation.sampler import OnStep
from coupled_core.records import Rejection, Sample
from coupled_core.research.methods.controls import denoise_singly
from coupled_core.research.methods.method import Knob, Knobs, MethodOutput, check_knobs
from coupled_core.research.methods.stock import StockMethod, StockModel


@dataclass(frozen=True)
class CutAndPaste:
    """`methods.method.Method` says what the attributes mean."""

    model: StockModel
    name: str = "cut-and-paste"
    knobs: tuple[Knob, ...] = ()
    main_knob: str | None = None

    def generate(
        self, samples: Sequence[Sample], knobs: Knobs, on_step: OnStep | None = None
    ) -> list[MethodOutput | Rejection]:
        """Make the images of one batch.

        Raises:
            ConfigError: a knob is given; there are none.
            ModelUnavailableError: Segment Anything or CLIP cannot be loaded.
        """
        check_knobs(self.name, self.knobs, knobs)
        stock = StockMethod(self.name, self.model, denoise_singly)
        with_entities = stock.generate(samples, {}, _half(on_step, 0))
        alone = [
            replace(one, group=replace(one.group, prompts=(one.split.background_prompt,)))
            for one in samples
        ]
        backgrounds = stock.generate(alone, {}, _half(on_step, 1))
        return [
            self._paste(*of_sample)
            for of_sample in zip(samples, with_entities, backgrounds, strict=True)
        ]

    def _paste(
        self, sample: Sample, made: MethodOutput | Rejection, behind: MethodOutput | Rejection
    ) -> MethodOutput | Rejection:
        if isinstance(made, Rejection):
            return made
        if isinstance(behind, Rejection):
            return behind
        (background,) = behind.images
        pasted = []
        for image, entity in zip(made.images, sample.split.entity_prompts, strict=True):
            found = self.model.finder.find(image, entity, sample.split.background_prompt)
            pasted.append(np.where(found.mask[..., None], image, background))
        return MethodOutput(
            tuple(pasted),
            made.seconds + behind.seconds,
            made.model_evaluations + behind.model_evaluations,
        )


def _half(on_step: OnStep | None, which: int) -> OnStep | None:
    """Return what reports the steps of the first or second half of the work as part of all."""
    if on_step is None:
        return None
    return lambda done, total: on_step(which * total + done, 2 * total)


build = CutAndPaste
