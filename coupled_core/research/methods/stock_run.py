"""One batch of samples of one size on its way through a stock model: rows, Euler steps, costs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from coupled_core.errors import ConfigError
from coupled_core.generation.noise import compute_noise_levels, draw_noise, image_ids
from coupled_core.records import Rejection, RejectReason, Sample
from coupled_core.research.methods.method import Knob, Knobs, MethodOutput
from coupled_core.research.methods.stock_model import StockModel, TextRows

OnStep = Callable[[int, int], None]


class StockRun:
    """G samples with R images; image 0 of a sample is its source, the others are its edits.

    Attributes:
        prompts: the R full prompts, sample by sample.
        images: their embeddings.
        noise: (G, S_img, in_channels) at sigma = 1, one a sample, at least float32.
        sample_of_image: (R,) index of each image's sample.
        source_of_image: (R,) row of image 0 of the same sample.
        sources: (G,) rows of the images 0.
        edits: (R - G,) rows of all others.
        seeds: of each sample.
        sigmas: (T + 1,), from about 1 down to exactly 0; level i is sigmas[i].
        evaluations: (G,) rows that went through the transformer for each sample so far.
    """

    def __init__(
        self,
        model: StockModel,
        samples: Sequence[Sample],
        width: int,
        height: int,
        on_step: OnStep | None = None,
    ) -> None:
        self.model = model
        self._samples = samples
        sizes = torch.tensor([len(sample.group.prompts) for sample in samples])
        self.sample_of_image = torch.arange(len(samples)).repeat_interleave(sizes)
        self.sources = sizes.cumsum(0) - sizes
        self.source_of_image = self.sources[self.sample_of_image]
        rows = torch.arange(len(self.source_of_image))
        self.edits = rows[rows != self.source_of_image]
        self.seeds = [sample.seed for sample in samples]
        self.prompts = [prompt for sample in samples for prompt in sample.group.prompts]
        self.images = model.encode(self.prompts, self.sample_of_image)

        device = model.pipeline._execution_device
        noise = [draw_noise(model.pipeline, seed, width, height) for seed in self.seeds]
        exact = torch.promote_types(model.transformer.dtype, torch.float32)
        self.noise = torch.stack(noise).to(device, exact)
        self._image_ids = image_ids(model.pipeline, width, height).to(device)
        levels = compute_noise_levels(
            model.pipeline.scheduler,
            model.provenance.num_inference_steps,
            num_image_tokens=self._image_ids.shape[0],
        )
        self.sigmas = levels.sigmas.to(device)
        self._timesteps = torch.cat([levels.timesteps, torch.zeros(1)]).to(device)
        self.evaluations = torch.zeros(len(samples), dtype=torch.int64)
        self._on_step, self._num_calls, self._calls_expected = on_step, 0, 0

    @property
    def num_steps(self) -> int:
        """T."""
        return len(self.sigmas) - 1

    def count_steps(self, share: float) -> int:
        """Return how many of the T steps a share in [0, 1] is."""
        return round(min(max(share, 0.0), 1.0) * self.num_steps)

    def encode_backgrounds(self) -> TextRows:
        """Return the background prompts, one row a sample."""
        prompts = [sample.split.background_prompt for sample in self._samples]
        return self.model.encode(prompts, torch.arange(len(prompts)))

    def expect(self, num_calls: int) -> None:
        """Announce how many calls of `velocity` will follow in all; progress counts them."""
        self._calls_expected = num_calls

    def velocity(
        self, latents: Tensor, text: TextRows, level: int, guidance_scale: float | None = None
    ) -> Tensor:
        """Run the transformer once; return noise minus image, like `latents`.

        Args:
            latents: (rows, S_img, in_channels).
            text: as many rows.
            level: 0 is the noisiest, T is clean.
            guidance_scale: None: the run's.
        """
        self.evaluations += torch.bincount(text.sample_of_row, minlength=len(self.evaluations))
        velocity = self.model.predict(
            latents, text, self._timesteps[level], self._image_ids, guidance_scale
        )
        self._num_calls += 1
        if self._on_step is not None:
            self._on_step(self._num_calls, self._calls_expected)
        return velocity

    def step(self, latents: Tensor, velocity: Tensor, level: int) -> Tensor:
        """Take one Euler step from `level` to the next cleaner one."""
        return latents + (self.sigmas[level + 1] - self.sigmas[level]) * velocity

    def denoise(
        self, latents: Tensor, text: TextRows, first: int = 0, last: int | None = None
    ) -> Tensor:
        """Sample as the stock pipeline does, from level `first` to level `last` (None: clean)."""
        for level in range(first, self.num_steps if last is None else last):
            latents = self.step(latents, self.velocity(latents, text, level), level)
        return latents

    def denoise_sources(self) -> Tensor:
        """Return clean latents of image 0 of each sample, made by the stock pipeline, (G, ...)."""
        return self.denoise(self.noise, self.images.take(self.sources))

    def merge(self, sources: Tensor, edits: Tensor) -> Tensor:
        """Put latents of sources (G, ...) and edits (R - G, ...) in the order of the images."""
        merged = sources.new_empty(len(self.prompts), *sources.shape[1:])
        merged[self.sources], merged[self.edits] = sources, edits
        return merged


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
