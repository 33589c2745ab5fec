"""Makes a `Method` of a function that denoises one batch on a stock model."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from coupled_core.errors import ConfigError
from coupled_core.methods.method import Knob, Knobs, MethodOutput
from coupled_core.methods.stock_model import StockModel
from coupled_core.methods.stock_run import OnStep, StockRun
from coupled_core.records import Rejection, RejectReason, Sample

Denoise = Callable[[StockRun, Knobs], Tensor]
"""Returns clean latents, (R, S_img, in_channels), in the order of the run's images."""

_Outcome = MethodOutput | Rejection


@dataclass(frozen=True)
class StockMethod:
    """One baseline; `methods.method.Method` says what the attributes mean."""

    name: str
    model: StockModel
    denoise: Denoise
    knobs: tuple[Knob, ...] = ()
    main_knob: str | None = None

    def generate(
        self, samples: Sequence[Sample], knobs: Knobs, on_step: OnStep | None = None
    ) -> list[_Outcome]:
        """Make the images of one batch; sizes are denoised one after another.

        Raises:
            ConfigError: a knob is missing or unknown.
        """
        check_knobs(self.name, self.knobs, knobs)
        outcomes: dict[int, _Outcome] = {}
        by_size: dict[tuple[int, int], list[int]] = {}
        for i, sample in enumerate(samples):
            try:
                by_size.setdefault(self.model.size_of(sample), []).append(i)
            except ConfigError as exc:
                outcomes[i] = reject(sample, str(exc))
        for size, rows in by_size.items():
            made = self._generate_size([samples[i] for i in rows], size, knobs, on_step)
            outcomes.update(zip(rows, made, strict=True))
        return [outcomes[i] for i in range(len(samples))]

    @torch.no_grad()
    def _generate_size(
        self,
        samples: Sequence[Sample],
        size: tuple[int, int],
        knobs: Knobs,
        on_step: OnStep | None,
    ) -> list[_Outcome]:
        started_at = time.perf_counter()
        run = StockRun(self.model, samples, *size, on_step)
        images = iter(self.model.decode(self.denoise(run, knobs), *size))
        evaluations = run.evaluations.tolist()
        seconds = (time.perf_counter() - started_at) / sum(evaluations)
        return [
            self._finish(sample, [next(images) for _ in sample.group.prompts], seconds, count)
            for sample, count in zip(samples, evaluations, strict=True)
        ]

    def _finish(
        self, sample: Sample, images: list[np.ndarray | None], seconds: float, evaluations: int
    ) -> _Outcome:
        finite = tuple(image for image in images if image is not None)
        if len(finite) < len(images):
            bad = [i for i, image in enumerate(images) if image is None]
            dtype = self.model.provenance.dtype
            return reject(
                sample,
                f"{self.name}: images {bad} of {len(images)} hold values that are not finite "
                f"(dtype {dtype}; bfloat16 or float32 may help)",
            )
        return MethodOutput(finite, seconds * evaluations, evaluations)


def check_knobs(method: str, expected: Sequence[Knob], given: Knobs) -> None:
    """Raise ConfigError unless there is a value for every knob and nothing else."""
    names = [knob.name for knob in expected]
    if sorted(names) != sorted(given):
        raise ConfigError(f"{method} expects the knobs {sorted(names)}; got {sorted(given)}")


def default_knobs(knobs: Sequence[Knob]) -> dict[str, float]:
    """Return the default of every knob."""
    return {knob.name: knob.default for knob in knobs}


def reject(sample: Sample, message: str) -> Rejection:
    """Return the rejection of a sample whose images could not be made."""
    name = f"group {sample.group.group_id}, seed {sample.seed}"
    return Rejection(RejectReason.GENERATION_FAILED, f"{name}: {message}")
