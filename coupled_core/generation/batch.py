"""What goes through the transformer at one step: the texts of a batch, and the call itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from coupled_core.coupling.ablation import THE_METHOD, Ablation
from coupled_core.coupling.attention import CoupledAttention, TextWeights
from coupled_core.coupling.weighted_attention import TextLayout
from coupled_core.generation.families.family import (
    Conditioning,
    Family,
    Frame,
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
    crop_evidence: Tensor | None = None
    """See `measure_crop`, (N,); None: no region was read."""


@dataclass(frozen=True)
class Texts:
    """Some texts on the device, shorter ones with padding behind them."""

    embeds: Tensor
    """(R, S_txt, joint_attention_dim)."""
    pooled: Tensor | None
    """(R, pooled_projection_dim)."""
    mask: Tensor | None
    """Which rows are no padding, bool, (R, S_txt); None: all, and attention has faster kernels."""

    @classmethod
    def stack(
        cls, texts: Sequence[TextEmbedding], device: torch.device, dtype: torch.dtype
    ) -> "Texts":
        """Move texts to the device."""
        pooled = [each.pooled_prompt_embeds for each in texts]
        known = [each for each in pooled if each is not None]
        embeds = [each.prompt_embeds for each in texts]
        lengths = torch.tensor([len(each) for each in embeds])
        mask = torch.arange(int(lengths.max())) < lengths.unsqueeze(1)
        return cls(
            pad_sequence(embeds, batch_first=True).to(device, dtype),
            torch.stack(known).to(device, dtype) if len(known) == len(pooled) else None,
            None if bool(mask.all()) else mask.to(device),
        )

    def take(self, rows: Tensor) -> "Texts":
        """Return texts by index, (R,)."""
        parts = (self.embeds, self.pooled, self.mask)
        return Texts(*(None if part is None else part[rows] for part in parts))  # type: ignore[arg-type]


@dataclass(frozen=True)
class GroupBatch:
    """The groups' tensors on the device: G rows for groups, R for images."""

    noise: Tensor
    group_of_row: Tensor
    background: Texts
    entity: Texts
    empty: Texts | None
    """One row."""

    @classmethod
    def stack(
        cls, groups: Sequence[Group], device: torch.device, dtype: torch.dtype
    ) -> "GroupBatch":
        """Move groups of one image size to the device."""
        backgrounds = [group.background for group in groups]
        entities = [entity for group in groups for entity in group.entities]
        empty = groups[0].empty
        sizes = torch.tensor([len(group.entities) for group in groups])
        return cls(
            noise=torch.stack([group.noise for group in groups]),
            # Such as [0, 0, 1, 1, 1] for a group of two images and one of three.
            group_of_row=torch.arange(len(groups)).repeat_interleave(sizes).to(device),
            background=Texts.stack(backgrounds, device, dtype),
            entity=Texts.stack(entities, device, dtype),
            empty=None if empty is None else Texts.stack([empty], device, dtype),
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
        if phase != "middle":
            return _condition_on(self.background if phase == "prefix" else self.entity)
        # From a row a group to a row an image.
        background, entity = self.background.take(self.group_of_row), self.entity
        # In bfloat16 a beta below 1 / 512 would leave 1 - beta at 1.
        weight = beta.to(torch.promote_types(entity.embeds.dtype, torch.float32))
        double, *single = weight.to(entity.embeds.device).reshape(-1).unbind()
        layout = TextLayout(background.embeds.shape[1], entity.embeds.shape[1])
        # Full prompts' vectors from the start would part images at beta 0.
        share = torch.ones_like(double) if ablation.pooled_of_entity else double
        return Conditioning(
            torch.cat([background.embeds, entity.embeds], dim=1),  # (R, 2 S_txt, dim)
            _weigh_pooled(background.pooled, entity.pooled, share),
            TextWeights(layout, double, *single),
            _join_masks(background, entity),
        )

    def condition_on_nothing(self, num_rows: int) -> Conditioning:
        """Return the empty text, by which classifier-free guidance moves away from."""
        assert self.empty is not None  # `Predictor.is_guided` asks before
        rows = torch.zeros_like(self.group_of_row[:1]).expand(num_rows)
        return _condition_on(self.empty.take(rows))


def _condition_on(texts: Texts) -> Conditioning:
    return Conditioning(texts.embeds, texts.pooled, mask=texts.mask)


def _join_masks(*texts: Texts) -> Tensor | None:
    if all(each.mask is None for each in texts):
        return None
    whole = (each.embeds.new_ones(each.embeds.shape[:2], dtype=torch.bool) for each in texts)
    pairs = zip(texts, whole, strict=True)
    return torch.cat([each.mask if each.mask is not None else ones for each, ones in pairs], dim=1)


def _weigh_pooled(background: Tensor | None, entity: Tensor | None, share: Tensor) -> Tensor | None:
    if background is None or entity is None:
        return None
    # One vector for both texts: in single-stream blocks all rows then start alike, which lets both
    # branches share the image's rows.
    return ((1 - share) * background + share * entity).to(entity.dtype)


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
        self, step: int, latents: Tensor, conditioning: Conditioning, frame: Frame
    ) -> Tensor:
        """Return the velocity at a step, in the dtype of the latents, (R, S, in_channels)."""
        family = self.family
        is_embedded = family.guidance == "embedding"
        self.attention.weights, self.attention.mask = conditioning.weights, conditioning.mask
        velocity = family.predict_velocity(
            latents.to(family.transformer.dtype),
            self.levels.timesteps[step],
            conditioning,
            frame,
            self.guidance_scale if is_embedded else None,
        )
        return velocity.to(latents.dtype)

    def combine(self, conditional: Tensor, unconditional: Tensor) -> Tensor:
        """Return the guided velocity of a prediction and that of the empty text."""
        assert self.guidance_scale is not None  # `is_guided` asks before
        return self.family.combine(conditional, unconditional, self.guidance_scale)
