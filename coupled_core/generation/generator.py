"""Generates the images of samples: the stage's one public door."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from diffusers import FluxPipeline
from torch import Tensor

from coupled_core.config import EntityText, GenerationConfig
from coupled_core.coupling.ablation import THE_METHOD, Ablation
from coupled_core.errors import ConfigError
from coupled_core.generation.base_model import load_pipeline, resolve_pipeline
from coupled_core.generation.batch import Group, PromptEncoder
from coupled_core.generation.noise import compute_noise_levels, draw_noise, image_ids
from coupled_core.generation.provenance import (
    GenerationProvenance,
    check_size,
    resolve,
    resolve_generation,
)
from coupled_core.generation.sampler import (
    OnStep,
    SamplerSettings,
    sample_groups,
)
from coupled_core.records import GeneratedSample, Rejection, RejectReason, Sample
from coupled_core.schedules.schedule import Schedule

_PIXELS_AT_ONCE = 2**22
"""Four images of 1024 x 1024; more would cost memory and gain nothing."""


@torch.no_grad()
def decode_latents(
    pipeline: FluxPipeline, latents: Tensor, width: int, height: int
) -> list[np.ndarray | None]:
    """Decode packed latents in batches.

    Args:
        pipeline: its autoencoder and image processor are used.
        latents: (R, S_img, in_channels), clean.
        width: pixels.
        height: pixels.

    Returns:
        For each row an image, uint8 (height, width, 3) RGB, or None where latents or pixels are not
        finite.
    """
    vae = pipeline.vae
    unpacked = pipeline._unpack_latents(latents, height, width, pipeline.vae_scale_factor)
    scaled = unpacked / vae.config.scaling_factor + vae.config.shift_factor
    images: list[np.ndarray | None] = []
    for chunk in scaled.split(max(1, _PIXELS_AT_ONCE // (width * height))):
        pixels = vae.decode(chunk.to(vae.dtype), return_dict=False)[0].float()
        finite = (
            chunk.isfinite().flatten(1).all(dim=1) & pixels.isfinite().flatten(1).all(dim=1)
        ).tolist()
        # Not a number has no colour; those rows are dropped below.
        unit = pipeline.image_processor.postprocess(pixels.nan_to_num(), output_type="np")
        levels = (unit * 255).round().astype(np.uint8)
        images += [image if ok else None for image, ok in zip(levels, finite, strict=True)]
    return images


__all__ = ["GenerationProvenance", "GroupGenerator", "load_generator", "resolve_generation"]

_Outcome = GeneratedSample | Rejection


def load_generator(
    config: GenerationConfig, pipeline: FluxPipeline | None = None
) -> "GroupGenerator":
    """Load the base model and the schedule.

    Args:
        config: What to load, and how to use it.
        pipeline: Used in place of a base model, and left as it is: its attention processors are
            exchanged for the length of a call alone. None: load one.

    Raises:
        ConfigError: settings that do not work on this machine or with this model.
        ModelUnavailableError: the base model is missing, gated, or does not load.
        ScheduleError: the schedule is missing, or is for another mode.
    """
    if pipeline is None:
        resolved = resolve(config)
        pipeline = load_pipeline(resolved, config.offload)
    else:
        resolved = resolve_pipeline(config, pipeline)
    return GroupGenerator(pipeline, resolved.schedule, resolved.provenance)


class GroupGenerator:
    """A loaded base model that makes groups of images with a common background."""

    def __init__(
        self, pipeline: FluxPipeline, schedule: Schedule, provenance: GenerationProvenance
    ) -> None:
        self.provenance = provenance
        self._pipeline = pipeline
        self._schedule = schedule
        self._encoder = PromptEncoder(pipeline, provenance.max_sequence_length)
        guided = pipeline.transformer.config.guidance_embeds
        self._settings = SamplerSettings(
            mode=provenance.coupling_mode,
            guidance_scale=provenance.guidance_scale if guided else None,
            region=schedule.region,
        )

    def with_schedule(
        self,
        schedule: Schedule,
        entity_text: EntityText | None = None,
        num_inference_steps: int | None = None,
        ablation: Ablation = THE_METHOD,
    ) -> "GroupGenerator":
        """Return a generator on the same loaded model with another schedule, of any mode.

        Args:
            schedule: replaces the schedule and its mode.
            entity_text: what the entity stream reads; None: as before.
            num_inference_steps: None: as before.
            ablation: for research; what it changes is not in the provenance.
        """
        provenance = replace(
            self.provenance,
            schedule_id=schedule.id,
            coupling_mode=schedule.mode,
            entity_text=entity_text or self.provenance.entity_text,
            num_inference_steps=num_inference_steps or self.provenance.num_inference_steps,
        )
        other = GroupGenerator(self._pipeline, schedule, provenance)
        other._encoder = self._encoder
        other._settings = replace(other._settings, ablation=ablation)
        return other

    def generate(self, samples: Sequence[Sample], on_step: OnStep | None = None) -> list[_Outcome]:
        """Generate one batch of samples; a sample's images do not depend on the others.

        On one device in float32 a sample alone and in a batch of 8 differ by rounding only: at most
        one level of 255 in a pixel.

        Args:
            samples: they may differ in number of images and in size; sizes are denoised one after
                another.
            on_step: called after each denoising step with (steps done, steps in all) of its size.

        Returns:
            For each sample, in order, its images, or a rejection where they are not finite or the
            size that its group asks for does not fit the model.
        """
        outcomes: dict[int, _Outcome] = {}
        by_size: dict[tuple[int, int], list[int]] = {}
        for i, sample in enumerate(samples):
            try:
                by_size.setdefault(self._size_of(sample), []).append(i)
            except ConfigError as exc:
                message = f"{_name(sample)}: {exc}"
                outcomes[i] = Rejection(RejectReason.GENERATION_FAILED, message)
        for (width, height), rows in by_size.items():
            made = self._generate_size([samples[i] for i in rows], width, height, on_step)
            outcomes.update(zip(rows, made, strict=True))
        return [outcomes[i] for i in range(len(samples))]

    @torch.no_grad()
    def _generate_size(
        self, samples: Sequence[Sample], width: int, height: int, on_step: OnStep | None
    ) -> list[_Outcome]:
        started_at = time.perf_counter()
        pipeline = self._pipeline
        groups = [self._build_group(sample, width, height) for sample in samples]
        ids = image_ids(pipeline, width, height)
        levels = compute_noise_levels(
            pipeline.scheduler, self.provenance.num_inference_steps, ids.shape[0]
        )
        latents = sample_groups(
            pipeline.transformer,
            groups,
            levels,
            self._weigh(levels.sigmas[:-1]),
            ids,
            self._settings,
            device=pipeline._execution_device,
            on_step=on_step,
        )
        images = decode_latents(pipeline, torch.cat(latents), width, height)
        pipeline.maybe_free_model_hooks()
        seconds_per_image = (time.perf_counter() - started_at) / len(images)
        per_sample = iter(images)
        return [
            self._finish(
                sample, [next(per_sample) for _ in sample.group.prompts], seconds_per_image
            )
            for sample in samples
        ]

    def _weigh(self, sigmas: Tensor) -> Tensor:
        """Return beta at noise levels (T,), (T,); (T, 2) where block types have their own."""
        beta, delay = self._schedule.beta, self._settings.ablation.single_delay
        return torch.stack([beta(sigmas), beta(sigmas + delay)], 1) if delay else beta(sigmas)

    def _build_group(self, sample: Sample, width: int, height: int) -> Group:
        split = sample.split
        full = self.provenance.entity_text == "full_prompt"
        background, *entities = self._encoder.encode(
            [split.background_prompt, *(sample.group.prompts if full else split.entity_prompts)]
        )
        noise = draw_noise(self._pipeline, sample.seed, width, height)
        return Group(noise, background, tuple(entities))

    def _finish(
        self, sample: Sample, images: list[np.ndarray | None], seconds_per_image: float
    ) -> _Outcome:
        finite = [image for image in images if image is not None]
        if len(finite) < len(images):
            bad = [i for i, image in enumerate(images) if image is None]
            return Rejection(
                RejectReason.GENERATION_FAILED,
                f"{_name(sample)}: images {bad} of {len(images)} hold values that are not finite "
                f"(dtype {self.provenance.dtype}; bfloat16 or float32 may help)",
            )
        return GeneratedSample(
            images=tuple(finite),
            generate_seconds=seconds_per_image * len(images),
            device_name=self.provenance.device_name,
        )

    def _size_of(self, sample: Sample) -> tuple[int, int]:
        multiple = self._pipeline.vae_scale_factor * 2
        width = check_size("width", sample.group.width or self.provenance.width, multiple)
        return width, check_size("height", sample.group.height or self.provenance.height, multiple)


def _name(sample: Sample) -> str:
    return f"group {sample.group.group_id}, seed {sample.seed}"
