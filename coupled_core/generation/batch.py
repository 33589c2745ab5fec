"""What goes through the transformer at one step: the texts of a batch, and the call itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from coupled_core.coupling.ablation import THE_METHOD, Ablation
from coupled_core.coupling.attention import CoupledAttention, TextWeights
from coupled_core.coupling.weighted_attention import TextLayout
from coupled_core.generation.families.family import (
    Conditioning,
    Family,
    NoiseLevels,
    TextEmbedding,
)

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
    empty: TextEmbedding | None = None
    """The empty text, for classifier-free guidance."""


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
class GroupBatch:
    """The groups' tensors on the device: G rows for groups, R for images."""

    noise: Tensor
    group_of_row: Tensor
    background: Tensor
    background_pooled: Tensor | None
    entity: Tensor
    entity_pooled: Tensor | None
    empty: Tensor | None
    """(1, S_txt, joint_attention_dim)."""

    @classmethod
    def stack(
        cls, groups: Sequence[Group], device: torch.device, dtype: torch.dtype
    ) -> "GroupBatch":
        """Move groups of one image size to the device."""
        backgrounds = [group.background for group in groups]
        entities = [entity for group in groups for entity in group.entities]
        empty = groups[0].empty
        sizes = torch.tensor([len(group.entities) for group in groups])

        def gather(tensors: list[Tensor]) -> Tensor:
            return torch.stack(tensors).to(device, dtype)

        def gather_pooled(texts: list[TextEmbedding]) -> Tensor | None:
            pooled = [each.pooled_prompt_embeds for each in texts]
            return (
                gather([each for each in pooled if each is not None])
                if all(each is not None for each in pooled)
                else None
            )

        return cls(
            noise=torch.stack([group.noise for group in groups]),
            group_of_row=torch.arange(len(groups)).repeat_interleave(sizes).to(device),
            background=gather([text.prompt_embeds for text in backgrounds]),
            background_pooled=gather_pooled(backgrounds),
            entity=gather([text.prompt_embeds for text in entities]),
            entity_pooled=gather_pooled(entities),
            empty=None if empty is None else gather([empty.prompt_embeds]),
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
            return Conditioning(self.background, self.background_pooled)
        if phase == "suffix":
            return Conditioning(self.entity, self.entity_pooled)
        weight = beta.to(torch.promote_types(self.entity.dtype, torch.float32))
        double, *single = weight.to(self.entity.device).reshape(-1).unbind()
        background = self.background[self.group_of_row]
        layout = TextLayout(background.shape[1], self.entity.shape[1])
        return Conditioning(
            torch.cat([background, self.entity], dim=1),
            self._weigh_pooled(torch.ones_like(double) if ablation.pooled_of_entity else double),
            TextWeights(layout, double, *single),
        )

    def condition_on_nothing(self, num_rows: int) -> Conditioning:
        """Return the empty text, by which classifier-free guidance moves away from."""
        assert self.empty is not None  # `Predictor.is_guided` asks before
        return Conditioning(self.empty.expand(num_rows, -1, -1), None)

    def _weigh_pooled(self, share: Tensor) -> Tensor | None:
        """Return one vector an image; full prompts' from the start would part images at beta 0."""
        if self.background_pooled is None or self.entity_pooled is None:
            return None
        of_background = self.background_pooled[self.group_of_row]
        pooled = (1 - share) * of_background + share * self.entity_pooled
        return pooled.to(self.entity.dtype)


@dataclass(frozen=True)
class Predictor:
    """Asks the transformer for velocities during one run."""

    family: Family
    attention: CoupledAttention
    levels: NoiseLevels
    guidance_scale: float | None

    def is_guided(self, batch: GroupBatch) -> bool:
        """Return whether each prediction takes a second one, of the empty text.

        A scale of at most 1 switches classifier-free guidance off, as in the pipelines.
        """
        scale = self.guidance_scale
        is_free = self.family.guidance == "classifier-free"
        return is_free and batch.empty is not None and scale is not None and scale > 1

    def predict(
        self, step: int, latents: Tensor, conditioning: Conditioning, image_ids: Tensor
    ) -> Tensor:
        """Return the velocity at a step, in the dtype of the latents, (R, S, in_channels)."""
        family = self.family
        is_embedded = family.guidance == "embedding"
        self.attention.weights = conditioning.weights
        velocity = family.predict_velocity(
            latents.to(family.transformer.dtype),
            self.levels.timesteps[step],
            conditioning,
            image_ids,
            self.guidance_scale if is_embedded else None,
        )
        return velocity.to(latents.dtype)

    def combine(self, conditional: Tensor, unconditional: Tensor) -> Tensor:
        """Return the guided velocity of a prediction and that of the empty text."""
        assert self.guidance_scale is not None  # `is_guided` asks before
        return self.family.combine(conditional, unconditional, self.guidance_scale)
