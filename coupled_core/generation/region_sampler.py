"""The sampling loop of mode `region`: one background a group, the images free where entities stand.

Each group has, beside its images, one row that reads the background text alone. Kinds of step:

* shared, beta exactly 0: only that row is computed, all images equal it.
* reading: all rows are computed in full. Where an image's predicted clean latents differ most from
  the background's, its entity is about to appear; that evidence, summed over the steps, makes the
  region. Outside it the images take over the background's latents.
* tied: the region is known. Outside it the images are the background, so only the region's tokens
  are computed; in every block they attend to the background's keys and values elsewhere.

Nothing here needs to know which words name the entity, and no attention map is ever formed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from coupled_core.coupling.entity_region import choose_region, measure_crop, measure_evidence
from coupled_core.generation.batch import DenoisedGroup, Group, GroupBatch, Phase, Predictor
from coupled_core.generation.families.family import Conditioning, Frame
from coupled_core.schedules.schedule import RegionSettings


@dataclass(frozen=True)
class RegionLoop:
    """What all groups of a call have in common."""

    predictor: Predictor
    phases: Sequence[Phase]
    betas: Tensor
    """(T,), on the device."""
    frame: Frame
    """On the device."""
    region: RegionSettings

    @property
    def sigmas(self) -> Tensor:
        """(T + 1,), on the CPU."""
        return self.predictor.levels.sigmas

    @cached_property
    def moves(self) -> Tensor:
        """By how much each step changes sigma, (T,), on the device."""
        return self.sigmas.diff().to(self.predictor.family.device)

    def denoise(self, group: Group, on_step: Callable[[], None]) -> DenoisedGroup:
        """Return the clean latents of a group's images and of its background."""
        state, sigmas = _State.start(self, group), self.sigmas.tolist()
        for i, phase in enumerate(self.phases):
            if phase == "prefix":
                state.step_shared(i)
            # At least one step reads, however few steps there are.
            elif state.region is None or sigmas[i] >= self.region.read_until:
                state.step_reading(i)
            else:
                state.step_tied(i)
            on_step()
        return state.finish()


@dataclass(frozen=True)
class _Region:
    """Where the images of a group are free, on the device."""

    weight: Tensor
    """m of each token, (S_img, 1)."""
    inside: Tensor
    """Tokens with m > 0, (S_inside,)."""
    outside: Tensor
    """The others."""

    @classmethod
    def place(cls, weight: Tensor, like: Tensor) -> "_Region":
        """Take m of each token, (S_img,), on the CPU: there nobody waits for its zeros."""
        inside, outside = weight.nonzero()[:, 0], (weight == 0).nonzero()[:, 0]
        device = like.device
        return cls(weight.unsqueeze(-1).to(like), inside.to(device), outside.to(device))


@dataclass
class _State:
    """Latents of one group while they are denoised."""

    loop: RegionLoop
    batch: GroupBatch
    background: Tensor
    """(1, S_img, in_channels)."""
    images: Tensor
    """(N, S_img, in_channels)."""
    evidence: Tensor
    """(N, S_img), on the CPU."""
    region: _Region | None = None
    """None until it was read."""

    @classmethod
    def start(cls, loop: RegionLoop, group: Group) -> "_State":
        family = loop.predictor.family
        dtype = family.transformer.dtype
        batch = GroupBatch.stack([group], family.device, dtype)
        # Latents are kept in float32: many small steps add up, and bfloat16 would lose them.
        background = batch.noise.to(family.device, torch.promote_types(dtype, torch.float32))
        images = background[batch.group_of_row]
        return cls(loop, batch, background, images, torch.zeros(images.shape[:2]))

    def step_shared(self, i: int) -> None:
        (velocity,) = self._guide(
            i, lambda text: (self._predict(i, self.background, text.of_background),)
        )
        self.background = self._advance(self.background, velocity, i)
        self.images = self.background[self.batch.group_of_row]

    def step_reading(self, i: int) -> None:
        velocity, background_velocity = self._guide(
            i,
            lambda text: (
                self._predict(i, self.images, text.of_images),
                self._predict(i, self.background, text.of_background),
            ),
        )
        # What is compared are predicted clean latents, x0 = x - sigma v.
        sigma = self.loop.sigmas[i].to(self.images.device)
        self.evidence += measure_evidence(
            self.images - sigma * velocity, (self.background - sigma * background_velocity)[0]
        )
        weight = choose_region(self.evidence, self.loop.frame.grid, self.loop.region)  # (S_img,)
        self.region = _Region.place(weight, self.images)
        self.background = self._advance(self.background, background_velocity, i)
        moved = self._advance(self.images, velocity, i)
        self.images = _tie(moved, self.background, self.region.weight)

    def step_tied(self, i: int) -> None:
        assert self.region is not None  # `denoise` reads a region first
        inside, outside = self.region.inside, self.region.outside
        attention, frame = self.loop.predictor.attention, self.loop.frame.take(inside)

        def predict(text: _Texts) -> tuple[Tensor, ...]:
            # The background goes first: the images attend to its keys and values outside.
            with attention.keep(outside, text.of_background.prompt_embeds.shape[1]):
                of_background = self._predict(i, self.background, text.of_background)
            with attention.recall():
                # (N, S_inside, in_channels), and all rows of the background above.
                of_images = self._predict(i, self.images[:, inside], text.of_images, frame)
            return of_images, of_background

        velocity, background_velocity = self._guide(i, predict)
        background = self._advance(self.background, background_velocity, i)
        moved = self._advance(self.images[:, inside], velocity, i)
        images = background[self.batch.group_of_row]
        # Weighed on the soft edge, where m is between 0 and 1.
        images[:, inside] = _tie(moved, background[:, inside], self.region.weight[inside])
        self.background, self.images = background, images

    def finish(self) -> DenoisedGroup:
        # No region was read: every step was shared, and the images are the background.
        region = self.region
        free = torch.zeros(len(self.evidence[0])) if region is None else region.weight[:, 0]
        weights = free.float().cpu().expand(len(self.images), -1)
        crops = (
            None
            if region is None
            else measure_crop(self.evidence, weights[0], self.loop.frame.grid)
        )
        return DenoisedGroup(self.images, self.background, weights, crops)

    def _guide(
        self, i: int, predict: "Callable[[_Texts], tuple[Tensor, ...]]"
    ) -> tuple[Tensor, ...]:
        """Return what `predict` makes of the prompts, guided where the model is.

        One prediction is done with before the next begins, so that one memory of the background
        is enough.
        """
        batch, predictor, beta = self.batch, self.loop.predictor, self.loop.betas[i]
        prompts = _Texts(
            batch.condition(self.loop.phases[i], beta), batch.condition("prefix", beta)
        )
        conditional = predict(prompts)
        if not predictor.is_guided(batch):
            return conditional
        nothing = _Texts(
            batch.condition_on_nothing(len(self.images)), batch.condition_on_nothing(1)
        )
        return tuple(map(predictor.combine, conditional, predict(nothing)))

    def _predict(
        self, i: int, latents: Tensor, text: Conditioning, frame: Frame | None = None
    ) -> Tensor:
        return self.loop.predictor.predict(i, latents, text, frame or self.loop.frame)

    def _advance(self, latents: Tensor, velocity: Tensor, i: int) -> Tensor:
        return latents + self.loop.moves[i] * velocity


@dataclass(frozen=True)
class _Texts:
    """What images and background read in one prediction."""

    of_images: Conditioning
    of_background: Conditioning


def _tie(images: Tensor, background: Tensor, weight: Tensor) -> Tensor:
    """Return background + m (image - background), exactly the background where m is 0."""
    return torch.where(weight > 0, background + weight * (images - background), background)
