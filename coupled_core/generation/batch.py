"""What goes through the transformer at one step: the texts of a batch, and the call itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor

from coupled_core.coupling.ablation import THE_METHOD, Ablation
from coupled_core.coupling.install import coupling_kwargs
from coupled_core.generation.pipeline import TextEmbedding

Phase = Literal["prefix", "middle", "suffix"]
"""Whether beta is exactly 0, between, or exactly 1 (see `generation.sampler`)."""


@dataclass(frozen=True)
class Group:
    """N >= 1 images that are denoised together."""

    noise: Tensor
    """Packed latents at sigma = 1, (S_img, in_channels); the same for every image."""
    background: TextEmbedding
    entities: tuple[TextEmbedding, ...]
    """What the entity stream of each image reads."""


@dataclass(frozen=True)
class DenoisedGroup:
    """The clean packed latents of a group."""

    images: Tensor
    """(N, S_img, in_channels)."""
    background: Tensor | None = None
    """What the images share, (1, S_img, in_channels); None: the mode computes no such row."""
    weights: Tensor | None = None
    """m, by which each image's tokens are its own, in [0, 1], float32 on the CPU, (N, S_img); where
    it is 0 the latents are the background's. None without a background."""


@dataclass(frozen=True)
class Conditioning:
    """What the transformer reads at one step beside the latents, one row an image."""

    prompt_embeds: Tensor
    pooled: Tensor
    joint_attention_kwargs: dict[str, Any] | None


@dataclass(frozen=True)
class GroupBatch:
    """The groups' tensors on the device: G rows for groups, R for images."""

    noise: Tensor
    group_of_row: Tensor
    background: Tensor
    background_pooled: Tensor
    entity: Tensor
    entity_pooled: Tensor

    @classmethod
    def stack(
        cls, groups: Sequence[Group], device: torch.device, dtype: torch.dtype
    ) -> "GroupBatch":
        """Move groups of one image size to the device."""
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

    def condition(
        self, phase: Phase, beta: Tensor, ablation: Ablation = THE_METHOD
    ) -> Conditioning:
        """Return text, pooled vector and beta of one step.

        Args:
            phase: of the step.
            beta: 0-d; or (2,), that of double-stream and that of single-stream blocks.
            ablation: which parts differ.
        """
        if phase == "prefix":
            return Conditioning(self.background, self.background_pooled, None)
        if phase == "suffix":
            return Conditioning(self.entity, self.entity_pooled, None)
        weight = beta.to(torch.promote_types(self.entity.dtype, torch.float32))
        weight = weight.to(self.entity.device)
        background = self.background[self.group_of_row]
        # One vector an image: full prompts from the start would let images differ at beta = 0.
        double, *single = weight.reshape(-1).unbind()
        share = torch.ones_like(double) if ablation.pooled_of_entity else double
        of_background = self.background_pooled[self.group_of_row]
        pooled = (1 - share) * of_background + share * self.entity_pooled
        return Conditioning(
            torch.cat([background, self.entity], dim=1),
            pooled.to(self.entity.dtype),
            coupling_kwargs(double, background.shape[1], self.entity.shape[1], *single),
        )


def predict_velocity(
    transformer: FluxTransformer2DModel,
    latents: Tensor,
    timestep: Tensor,
    conditioning: Conditioning,
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
        pooled_projections=conditioning.pooled,
        encoder_hidden_states=conditioning.prompt_embeds,
        txt_ids=latents.new_zeros(conditioning.prompt_embeds.shape[1], 3),
        img_ids=image_ids.to(latents.dtype),
        joint_attention_kwargs=conditioning.joint_attention_kwargs,
        return_dict=False,
    )[0]
    return velocity
