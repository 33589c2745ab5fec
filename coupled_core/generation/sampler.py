"""The sampling loop: groups of images from one noise, Euler steps, beta between their texts.

Three phases, by the value of beta at the step's noise level:

* prefix, beta exactly 0: all images of a group are the same image; it is computed once, from the
background
  text alone, by the stock model.
* middle: every image by itself, its text stream [background | entity], coupled attention.
* suffix, beta exactly 1: the background text has no weight; the stock model with the entity text.

In `log_bias` mode that is exact. In `key_scale` mode a zeroed key keeps the weight exp(0), so
images differ already at beta = 0 and the background never falls silent: there every step is a
middle step.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor

from coupled_core.config import CouplingMode
from coupled_core.coupling.install import coupled_attention, coupling_kwargs
from coupled_core.generation.encode import TextEmbedding
from coupled_core.generation.noise_levels import NoiseLevels

OnStep = Callable[[int, int], None]
"""Called after each step with (steps done, steps in all)."""


@dataclass(frozen=True)
class Group:
    """N >= 1 images that are denoised together."""

    noise: Tensor
    """Packed latents at sigma = 1, (S_img, in_channels); the same for every image."""
    background: TextEmbedding
    entities: tuple[TextEmbedding, ...]
    """What the entity stream of each image reads."""


@dataclass(frozen=True)
class SamplerSettings:
    """What stays the same over all steps of a run."""

    mode: CouplingMode
    guidance_scale: float | None
    """None for models without a guidance embedding."""
    share: bool = True
    """False computes every step as a middle step: slower, the same images in `log_bias` mode."""


@dataclass(frozen=True)
class _Rows:
    """What the transformer reads at one step, one row a sequence of the batch."""

    prompt_embeds: Tensor
    pooled: Tensor
    joint_attention_kwargs: dict[str, Any] | None


def sample_groups(
    transformer: FluxTransformer2DModel,
    groups: Sequence[Group],
    levels: NoiseLevels,
    betas: Tensor,
    image_ids: Tensor,
    settings: SamplerSettings,
    *,
    device: torch.device,
    on_step: OnStep | None = None,
) -> list[Tensor]:
    """Denoise several groups in one batch.

    Latents stay in float32 (float64 for a float64 model) between steps, whatever the model's dtype.

    Args:
        transformer: the FLUX model, on `device` or under an offload hook.
        groups: of any mixture of N; all of one image size.
        levels: from `compute_noise_levels`.
        betas: the schedule at `levels.sigmas[:-1]`, (T,); may require a gradient.
        image_ids: (S_img, 3).
        settings: mode, guidance and sharing.
        device: where the transformer computes.
        on_step: progress.

    Returns:
        Clean packed latents of each group, (N, S_img, in_channels).
    """
    dtype = transformer.dtype
    batch = _Batch.stack(groups, device, dtype)
    latents = batch.noise.to(device, torch.promote_types(dtype, torch.float32))
    phases = choose_phases(betas, settings)
    num_steps, done, grouped = len(phases), 0, True
    for phase, steps in groupby(range(num_steps), key=phases.__getitem__):
        if phase != "prefix" and grouped:
            latents, grouped = latents[batch.group_of_row], False
        with _attention_of(phase, transformer, settings.mode):
            for i in steps:
                velocity = _predict(
                    transformer,
                    latents.to(dtype),
                    levels.timesteps[i].to(device),
                    batch.rows_at(phase, betas[i]),
                    image_ids.to(device),
                    settings.guidance_scale,
                )
                step = (levels.sigmas[i + 1] - levels.sigmas[i]).to(device)
                latents = latents + step * velocity.to(latents.dtype)
                done += 1
                if on_step is not None:
                    on_step(done, num_steps)
    if grouped:
        latents = latents[batch.group_of_row]
    return list(torch.split(latents, [len(group.entities) for group in groups]))


def choose_phases(betas: Tensor, settings: SamplerSettings) -> list[str]:
    """Return prefix, middle or suffix for each step."""
    if not settings.share or settings.mode != "log_bias":
        return ["middle"] * len(betas)
    values = betas.detach().cpu().tolist()
    # A 0 after another value would have to bring the images together again: only leading zeros are
    # a prefix.
    num_prefix = next((i for i, beta in enumerate(values) if beta != 0.0), len(values))
    return [
        "prefix" if i < num_prefix else "suffix" if beta == 1.0 else "middle"
        for i, beta in enumerate(values)
    ]


@dataclass(frozen=True)
class _Batch:
    """The groups' tensors on the device: G rows for groups, R for images."""

    noise: Tensor
    group_of_row: Tensor
    background: Tensor
    background_pooled: Tensor
    entity: Tensor
    entity_pooled: Tensor

    @classmethod
    def stack(cls, groups: Sequence[Group], device: torch.device, dtype: torch.dtype) -> "_Batch":
        backgrounds = [group.background for group in groups]
        entities = [entity for group in groups for entity in group.entities]
        sizes = torch.tensor([len(group.entities) for group in groups])

        def gather(tensors: list[Tensor]) -> Tensor:
            return torch.stack(tensors).to(device, dtype)

        return cls(
            noise=torch.stack([group.noise for group in groups]),
            group_of_row=torch.arange(len(groups)).repeat_interleave(sizes).to(device),
            background=gather([text.prompt_embeds for text in backgrounds]),
            background_pooled=gather([text.pooled_prompt_embeds for text in backgrounds]),
            entity=gather([text.prompt_embeds for text in entities]),
            entity_pooled=gather([text.pooled_prompt_embeds for text in entities]),
        )

    def rows_at(self, phase: str, beta: Tensor) -> _Rows:
        """Return text, pooled vector and beta of one step."""
        if phase == "prefix":
            return _Rows(self.background, self.background_pooled, None)
        if phase == "suffix":
            return _Rows(self.entity, self.entity_pooled, None)
        weight = beta.to(torch.promote_types(self.entity.dtype, torch.float32))
        weight = weight.to(self.entity.device)
        background = self.background[self.group_of_row]
        # One pooled vector an image: full prompts from the start would let images differ at beta =
        # 0.
        pooled = (1 - weight) * self.background_pooled[
            self.group_of_row
        ] + weight * self.entity_pooled
        return _Rows(
            torch.cat([background, self.entity], dim=1),
            pooled.to(self.entity.dtype),
            coupling_kwargs(weight, background.shape[1], self.entity.shape[1]),
        )


def _attention_of(
    phase: str, transformer: FluxTransformer2DModel, mode: CouplingMode
) -> AbstractContextManager[None]:
    return coupled_attention(transformer, mode) if phase == "middle" else nullcontext()


def _predict(
    transformer: FluxTransformer2DModel,
    latents: Tensor,
    timestep: Tensor,
    rows: _Rows,
    image_ids: Tensor,
    guidance_scale: float | None,
) -> Tensor:
    """Return the velocity; the arguments are made exactly as `FluxPipeline` makes them."""
    num_rows = latents.shape[0]
    guidance = None
    if guidance_scale is not None:
        guidance = torch.full(
            [num_rows], guidance_scale, device=latents.device, dtype=torch.float32
        )
    velocity: Tensor = transformer(
        hidden_states=latents,
        timestep=timestep.expand(num_rows).to(latents.dtype) / 1000,
        guidance=guidance,
        pooled_projections=rows.pooled,
        encoder_hidden_states=rows.prompt_embeds,
        txt_ids=latents.new_zeros(rows.prompt_embeds.shape[1], 3),
        img_ids=image_ids.to(latents.dtype),
        joint_attention_kwargs=rows.joint_attention_kwargs,
        return_dict=False,
    )[0]
    return velocity
