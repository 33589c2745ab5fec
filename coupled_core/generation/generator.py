"""Generates the images of samples: the stage's one public door."""

import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from diffusers import DiffusionPipeline
from torch import Tensor

from coupled_core.config import GenerationConfig
from coupled_core.coupling.ablation import THE_METHOD, Ablation
from coupled_core.errors import ConfigError
from coupled_core.generation.batch import Group
from coupled_core.generation.budget import NO_LIMIT, Budget, find_budget
from coupled_core.generation.decoding import ShownGroup, decode_groups
from coupled_core.generation.families.family import Family, compute_noise_levels, open_family
from coupled_core.generation.pipeline import compile_blocks, load_placed, resolve_pipeline
from coupled_core.generation.prompt_encoder import PromptEncoder
from coupled_core.generation.provenance import (
    SAMPLER_VERSIONS,
    GenerationProvenance,
    check_size,
    resolve,
)
from coupled_core.generation.sampler import OnStep, SamplerSettings, sample_groups
from coupled_core.generation.text_readers import make_text_reader
from coupled_core.models.memory import Room, is_out_of_memory
from coupled_core.models.text_reader import TextReader
from coupled_core.records import EntityText, GeneratedSample, Rejection, RejectReason, Sample
from coupled_core.schedules.schedule import Schedule

Key = TypeVar("Key", bound=Hashable)
Made = TypeVar("Made")


def generate_alike(
    samples: Sequence[Sample],
    key_of: Callable[[Sample], Key],
    generate: Callable[[list[Sample], Key], Sequence[Made | Rejection]],
) -> list[Made | Rejection]:
    """Generate those samples together that are alike, such as in size.

    Args:
        samples: in any mixture.
        key_of: what must be equal in a batch; ConfigError where a sample cannot be made at all.
        generate: makes the samples of one key.

    Returns:
        What was made of each sample, in their order.
    """
    outcomes: dict[int, Made | Rejection] = {}
    alike: dict[Key, list[int]] = {}
    for i, sample in enumerate(samples):
        try:
            alike.setdefault(key_of(sample), []).append(i)
        except ConfigError as exc:
            outcomes[i] = reject_sample(sample, str(exc))
    for key, rows in alike.items():
        made = generate([samples[i] for i in rows], key)
        outcomes.update(zip(rows, made, strict=True))
    return [outcomes[i] for i in range(len(samples))]


def find_size(sample: Sample, provenance: GenerationProvenance, family: Family) -> tuple[int, int]:
    """Return width and height in pixels; raise ConfigError where the latents would not pack."""
    multiple = family.size_multiple_px
    width = check_size("width", sample.group.width or provenance.width, multiple)
    return width, check_size("height", sample.group.height or provenance.height, multiple)


def find_region_fraction(regions: Sequence[np.ndarray] | None) -> float | None:
    """Return the share of the frame in which some image of a group is not the background."""
    return None if regions is None else float(np.any([region > 0 for region in regions], 0).mean())


def require_finite(
    sample: Sample, images: Sequence[np.ndarray | None], dtype: str, made_by: str = ""
) -> tuple[np.ndarray, ...] | Rejection:
    """Return a sample's images as `decode_latents` made them, or its rejection if one is None."""
    finite = tuple(image for image in images if image is not None)
    if len(finite) == len(images):
        return finite
    bad = [i for i, image in enumerate(images) if image is None]
    return reject_sample(
        sample,
        f"{made_by}images {bad} of {len(images)} hold values that are not finite "
        f"(dtype {dtype}; bfloat16 or float32 may help)",
    )


def reject_sample(sample: Sample, message: str) -> Rejection:
    """Return the rejection of a sample whose images could not be made."""
    name = f"group {sample.group.group_id}, seed {sample.seed}"
    return Rejection(RejectReason.GENERATION_FAILED, f"{name}: {message}")


def _too_large(error: Exception, provenance: GenerationProvenance, what: str) -> ConfigError:
    """Return what to do where a group alone does not fit: every other one would fail, too."""
    first = str(error).partition("\n")[0]
    return ConfigError(
        f"one group of {what} does not fit into the memory of {provenance.device_name} ({first}): "
        "on an accelerator keep idle parts of the model elsewhere (--offload auto, or sequential, "
        "which needs least), or choose a smaller --width and --height; --batch-size is of no more "
        "help, one group at a time was tried"
    )


def load_generator(
    config: GenerationConfig, pipeline: DiffusionPipeline | None = None, beside_bytes: int = 0
) -> "GroupGenerator":
    """Load the base model and the schedule.

    Args:
        config: What to load, and how to use it.
        pipeline: Used in place of a base model, and left as it is: its attention processors are
            exchanged for the length of a call alone. None: load one.
        beside_bytes: What other models will take of the device.

    Raises:
        ConfigError: settings that do not work on this machine or with this model, which may be too
            large for it.
        ModelUnavailableError: the base model is missing, gated, or does not load.
        ScheduleError: the schedule is missing, or is for another mode.
    """
    if pipeline is not None:
        resolved = resolve_pipeline(config, pipeline)
        return GroupGenerator(pipeline, resolved.schedule, resolved.provenance)
    resolved = resolve(config)
    made, files = resolved.provenance, resolved.files
    budget = find_budget(config, made, files, resolved.device, beside_bytes)
    way = budget.choose_way(config.offload)
    placed = load_placed(resolved, way, may_move=config.offload == "auto")
    if config.compile:
        compile_blocks(placed.pipeline.transformer)
    return GroupGenerator(
        placed.pipeline,
        resolved.schedule,
        resolved.provenance,
        Room(placed.free_more),
        budget=budget.placed(lambda: placed.offload),
        reading=placed.reading_texts if placed.offload == "disk" else nullcontext,
    )


class GroupGenerator:
    """A loaded base model that makes groups of images with a common background."""

    def __init__(
        self,
        pipeline: DiffusionPipeline,
        schedule: Schedule,
        provenance: GenerationProvenance,
        room: Room | None = None,
        *,
        budget: Budget = NO_LIMIT,
        reading: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.provenance = provenance
        self._pipeline = pipeline
        self._family = open_family(pipeline)
        self._schedule = schedule
        self._encoder = PromptEncoder(self._family, provenance.max_sequence_length, reading=reading)
        self._room, self._budget = room or Room(), budget
        is_guided = self._family.guidance != "none"
        self._settings = SamplerSettings(
            mode=provenance.coupling_mode,
            guidance_scale=provenance.guidance_scale if is_guided else None,
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
            sampler_version=SAMPLER_VERSIONS[schedule.mode],
            entity_text=entity_text or self.provenance.entity_text,
            num_inference_steps=num_inference_steps or self.provenance.num_inference_steps,
        )
        budget = self._budget.planned_for(provenance)
        other = GroupGenerator(self._pipeline, schedule, provenance, self._room, budget=budget)
        other._encoder = self._encoder  # texts do not depend on the schedule
        other._settings = replace(other._settings, ablation=ablation)
        return other

    def generate(
        self, samples: Sequence[Sample], on_step: OnStep | None = None
    ) -> list[GeneratedSample | Rejection]:
        """Generate one batch of samples; a sample's images do not depend on the others.

        On one device in float32 a sample alone and in a batch of 8 differ by rounding only: at most
        one level of 255 in a pixel.

        Args:
            samples: they may differ in number of images and in size; sizes are denoised one after
                another.
            on_step: called after each denoising step with (steps done, steps in all) of its size.

        Returns:
            For each sample, in order, its images, or a rejection where they are not finite, the
            size that its group asks for does not fit the model, or the text encoder cannot read
            its texts or not tell them apart.

        Raises:
            ConfigError: one group alone does not fit into memory. Of several, half as many are
                denoised together, as often as it takes, then parts of the model are moved off the
                device where the settings allow it; the generator remembers both.
        """
        refusals = [self._find_unreadable(each) for each in samples]
        readable = [each for each, why in zip(samples, refusals, strict=True) if why is None]
        made = iter(
            generate_alike(
                readable,
                lambda sample: find_size(sample, self.provenance, self._family),
                lambda alike, size: self._generate_size(alike, *size, on_step),
            )
        )
        return [why or next(made) for why in refusals]

    def read_ahead(self, samples: Sequence[Sample]) -> None:
        """Read texts of the next batch and those behind it, if encoders have to be loaded for it.

        Args:
            samples: all that are still to come, in their order.
        """
        if self._encoder.is_always_ready:
            return
        # Looked at one by one, and no further than texts are read at a time.
        readable = (sample for sample in samples if self._find_unreadable(sample) is None)
        self._encoder.read_ahead(text for each in readable for text in self._texts(each))

    def _find_unreadable(self, sample: Sample) -> Rejection | None:
        """Ask the tokenizer about all texts, some of which were not known before the split."""
        texts = self._entity_texts(sample)
        background = sample.split.background_prompt
        why = self._reader.find_unreadable([*texts, background], len(texts))
        name = f"group {sample.group.group_id}, seed {sample.seed}"
        return why and replace(why, message=f"{name}: {why.message}")

    @cached_property
    def _reader(self) -> TextReader:
        spec = self._family.spec.tokenizers[0]
        tokenizer, limit = spec.find_in(self._pipeline), self.provenance.max_sequence_length
        return make_text_reader(tokenizer, spec, self.provenance.base_model, limit)

    def _entity_texts(self, sample: Sample) -> tuple[str, ...]:
        is_full = self.provenance.entity_text == "full_prompt"
        return sample.group.prompts if is_full else sample.split.entity_prompts

    def _generate_size(
        self, samples: Sequence[Sample], width: int, height: int, on_step: OnStep | None
    ) -> list[GeneratedSample | Rejection]:
        num_images = max(len(sample.group.prompts) for sample in samples)
        most = self._budget.most_groups(width, height, num_images)
        try:
            return self._room.map(
                lambda some: self._generate_together(some, width, height, on_step),
                samples,
                (width, height, self._settings.mode),
                most,
            )
        except Exception as error:
            if is_out_of_memory(error):
                raise _too_large(error, self.provenance, f"{width} x {height} pixels") from error
            raise

    @torch.no_grad()
    def _generate_together(
        self, samples: Sequence[Sample], width: int, height: int, on_step: OnStep | None
    ) -> list[GeneratedSample | Rejection]:
        started_at = time.perf_counter()
        family = self._family
        # All at once: text encoders may have to be loaded for it.
        self._encoder.encode([text for sample in samples for text in self._texts(sample)])
        groups = [self._build_group(sample, width, height) for sample in samples]
        frame = family.find_frame(width, height)
        levels = compute_noise_levels(
            family, self._pipeline.scheduler, self.provenance.num_inference_steps, len(frame.ids)
        )
        denoised = sample_groups(
            family,
            groups,
            levels,
            self._weigh(levels.sigmas[:-1]),
            frame,
            self._settings,
            on_step=on_step,
        )
        at_once = self._budget.most_decoded(width, height)
        matte = 255 * self._settings.region.matte if self._settings.region else 0.0
        shown = decode_groups(family, denoised, frame.grid, (width, height), at_once, matte=matte)
        # With offloading the autoencoder would stay on the device while the next batch denoises.
        self._pipeline.maybe_free_model_hooks()
        num_images = sum(len(sample.group.prompts) for sample in samples)
        seconds_per_image = (time.perf_counter() - started_at) / num_images
        return [
            self._finish(sample, group, seconds_per_image, len(samples))
            for sample, group in zip(samples, shown, strict=True)
        ]

    def _weigh(self, sigmas: Tensor) -> Tensor:
        """Return beta at noise levels (T,), (T,); (T, 2) where block types have their own."""
        beta, delay = self._schedule.beta, self._settings.ablation.single_delay
        # Behind in time is at a higher sigma.
        return torch.stack([beta(sigmas), beta(sigmas + delay)], 1) if delay else beta(sigmas)

    def _texts(self, sample: Sample) -> list[str]:
        """Return all that is read for a sample; last the empty text, where the guidance is free."""
        is_free = self._family.guidance == "classifier-free"
        texts = [sample.split.background_prompt, *self._entity_texts(sample)]
        return [*texts, self._family.empty_prompt] if is_free else texts

    def _build_group(self, sample: Sample, width: int, height: int) -> Group:
        background, *others = self._encoder.encode(self._texts(sample))
        noise = self._family.draw_noise(sample.seed, width, height)
        num_images = len(sample.group.prompts)
        empty = others[num_images] if len(others) > num_images else None
        return Group(noise, background, tuple(others[:num_images]), empty)

    def _finish(
        self, sample: Sample, shown: ShownGroup, seconds_per_image: float, batch_size: int
    ) -> GeneratedSample | Rejection:
        finite = require_finite(sample, shown.images, self.provenance.dtype)
        if isinstance(finite, Rejection):
            return finite
        return GeneratedSample(
            images=finite,
            generate_seconds=seconds_per_image * len(finite),
            device_name=self.provenance.device_name,
            background=shown.background,
            regions=shown.regions,
            region_fraction=find_region_fraction(shown.regions),
            crop_evidence=shown.crop_evidence,
            batch_size=batch_size,
        )
