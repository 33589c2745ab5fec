"""A stock FLUX pipeline opened up for baselines: its rows, its Euler steps, and what they cost.

Nothing of the model is changed here: a baseline is a function that denoises a `StockRun`.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from torch import Tensor

from coupled_core.config import ScoringConfig
from coupled_core.generation.decoding import decode_latents
from coupled_core.generation.families.family import Conditioning, Frame, compute_noise_levels
from coupled_core.generation.families.flux1 import Flux1
from coupled_core.generation.generator import (
    GroupGenerator,
    find_size,
    generate_alike,
    require_finite,
)
from coupled_core.generation.prompt_encoder import PromptEncoder
from coupled_core.generation.provenance import GenerationProvenance
from coupled_core.generation.sampler import OnStep
from coupled_core.records import Rejection, Sample
from coupled_core.research.methods.method import Knob, Knobs, MethodOutput, check_knobs
from coupled_core.schedules.schedule import Schedule
from coupled_core.scoring.entity_masks import EntityFinder
from coupled_core.scoring.pair_scorer import load_scorer


@dataclass(frozen=True)
class PromptRows:
    """What the transformer reads beside latents: one prompt a row of the batch, on the device."""

    prompt_embeds: Tensor
    """T5, (R, max_sequence_length, joint_attention_dim)."""
    pooled_prompt_embeds: Tensor
    """CLIP, (R, pooled_projection_dim)."""
    sample_of_row: Tensor
    """(R,), int64 on the CPU: the sample, by position, that a row is computed for."""

    def take(self, rows: Tensor) -> "PromptRows":
        """Return some rows; `rows` holds their indices."""
        return PromptRows(
            self.prompt_embeds[rows], self.pooled_prompt_embeds[rows], self.sample_of_row[rows]
        )

    def join(self, other: "PromptRows") -> "PromptRows":
        """Return these rows followed by the other's."""
        return PromptRows(
            torch.cat([self.prompt_embeds, other.prompt_embeds]),
            torch.cat([self.pooled_prompt_embeds, other.pooled_prompt_embeds]),
            torch.cat([self.sample_of_row, other.sample_of_row]),
        )


class StockModel:
    """One loaded pipeline, shared by all methods."""

    def __init__(
        self,
        pipeline: FluxPipeline,
        provenance: GenerationProvenance,
        schedule: Schedule,
        scoring: ScoringConfig | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.family = Flux1(pipeline)
        self._scoring = scoring or ScoringConfig()
        self.provenance = provenance
        self._schedule = schedule
        self._encoder = PromptEncoder(self.family, provenance.max_sequence_length)

    @cached_property
    def generator(self) -> GroupGenerator:
        """What couples on the same pipeline, by the schedule of the settings."""
        return GroupGenerator(self.pipeline, self._schedule, self.provenance)

    @cached_property
    def finder(self) -> EntityFinder:
        """What finds entities in finished images; Segment Anything and CLIP are loaded here."""
        device = str(self.pipeline._execution_device)
        return load_scorer(self._scoring, device).finder

    @property
    def transformer(self) -> FluxTransformer2DModel:
        """The FLUX transformer, on its device or under an offload hook."""
        return self.pipeline.transformer

    @property
    def is_guided(self) -> bool:
        """Whether the model reads a guidance scale."""
        return bool(self.transformer.config.guidance_embeds)

    def encode(self, prompts: Sequence[str], sample_of_row: Tensor) -> PromptRows:
        """Return one row a prompt; each distinct prompt goes through the text encoders once."""
        texts = self._encoder.encode(prompts)
        device, dtype = self.pipeline._execution_device, self.transformer.dtype
        pooled = [text.pooled_prompt_embeds for text in texts]
        return PromptRows(
            torch.stack([text.prompt_embeds for text in texts]).to(device, dtype),
            torch.stack([each for each in pooled if each is not None]).to(device, dtype),
            sample_of_row,
        )

    def tokenize(self, prompt: str) -> list[int]:
        """Return the T5 token ids of a prompt with its end token, without padding."""
        length = self.provenance.max_sequence_length
        encoded = self.pipeline.tokenizer_2(prompt, max_length=length, truncation=True)
        return list(encoded.input_ids)

    def predict(
        self,
        latents: Tensor,
        text: PromptRows,
        timestep: Tensor,
        frame: Frame,
        guidance_scale: float | None = None,
    ) -> Tensor:
        """Return the velocity, noise minus image, as `FluxPipeline` asks for it.

        Args:
            latents: (R, S_img, in_channels).
            text: R rows.
            timestep: 1000 sigma, 0-d.
            frame: All image tokens, on the device.
            guidance_scale: None: the run's. Models without a guidance embedding read none.

        Returns:
            Like `latents`, in their dtype.
        """
        scale = self.provenance.guidance_scale if guidance_scale is None else guidance_scale
        velocity = self.family.predict_velocity(
            latents.to(self.transformer.dtype),
            timestep,
            Conditioning(text.prompt_embeds, text.pooled_prompt_embeds),
            frame,
            scale if self.is_guided else None,
        )
        return velocity.to(latents.dtype)

    def decode(self, latents: Tensor, width: int, height: int) -> list[np.ndarray | None]:
        """Return uint8 images (height, width, 3), None where one is not finite; free the parts."""
        images = decode_latents(self.family, latents, width, height)
        self.pipeline.maybe_free_model_hooks()
        return images


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
        noise = [model.family.draw_noise(seed, width, height) for seed in self.seeds]
        exact = torch.promote_types(model.transformer.dtype, torch.float32)
        self.noise = torch.stack(noise).to(device, exact)
        self._frame = model.family.find_frame(width, height).to(device)
        levels = compute_noise_levels(
            Flux1,
            model.pipeline.scheduler,
            model.provenance.num_inference_steps,
            num_image_tokens=len(self._frame.ids),
        )
        self.sigmas = levels.sigmas.to(device)
        # The clean level is no step of sampling, but inversion starts there.
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

    def encode_backgrounds(self) -> PromptRows:
        """Return the background prompts, one row a sample."""
        prompts = [sample.split.background_prompt for sample in self._samples]
        return self.model.encode(prompts, torch.arange(len(prompts)))

    def expect(self, num_calls: int) -> None:
        """Announce how many calls of `velocity` will follow in all; progress counts them."""
        self._calls_expected = num_calls

    def velocity(
        self, latents: Tensor, text: PromptRows, level: int, guidance_scale: float | None = None
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
            latents, text, self._timesteps[level], self._frame, guidance_scale
        )
        self._num_calls += 1
        if self._on_step is not None:
            self._on_step(self._num_calls, self._calls_expected)
        return velocity

    def step(self, latents: Tensor, velocity: Tensor, level: int) -> Tensor:
        """Take one Euler step from `level` to the next cleaner one."""
        return latents + (self.sigmas[level + 1] - self.sigmas[level]) * velocity

    def denoise(
        self, latents: Tensor, text: PromptRows, first: int = 0, last: int | None = None
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
    ) -> list[MethodOutput | Rejection]:
        """Make the images of one batch; sizes are denoised one after another.

        Raises:
            ConfigError: a knob is missing or unknown.
        """
        check_knobs(self.name, self.knobs, knobs)
        return generate_alike(
            samples,
            lambda sample: find_size(sample, self.model.provenance, self.model.family),
            lambda alike, size: self._generate_size(alike, size, knobs, on_step),
        )

    @torch.no_grad()
    def _generate_size(
        self,
        samples: Sequence[Sample],
        size: tuple[int, int],
        knobs: Knobs,
        on_step: OnStep | None,
    ) -> list[MethodOutput | Rejection]:
        started_at = time.perf_counter()
        run = StockRun(self.model, samples, *size, on_step)
        images = iter(self.model.decode(self.denoise(run, knobs), *size))
        evaluations = run.evaluations.tolist()
        # Rows through the transformer take nearly all of the time, so they share it out.
        seconds = (time.perf_counter() - started_at) / sum(evaluations)
        return [
            self._finish(sample, [next(images) for _ in sample.group.prompts], seconds, count)
            for sample, count in zip(samples, evaluations, strict=True)
        ]

    def _finish(
        self, sample: Sample, images: list[np.ndarray | None], seconds: float, evaluations: int
    ) -> MethodOutput | Rejection:
        finite = require_finite(sample, images, self.model.provenance.dtype, f"{self.name}: ")
        if isinstance(finite, Rejection):
            return finite
        return MethodOutput(finite, seconds * evaluations, evaluations)
