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

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor

from coupled_core.coupling.background_memory import recall_background, remember_background
from coupled_core.coupling.entity_region import choose_region, measure_evidence, token_grid
from coupled_core.coupling.install import attention_of
from coupled_core.generation.batch import (
    DenoisedGroup,
    Group,
    GroupBatch,
    Phase,
    predict_velocity,
)
from coupled_core.generation.pipeline import NoiseLevels
from coupled_core.schedules.schedule import RegionSettings


@dataclass(frozen=True)
class RegionLoop:
    """What all groups of a call have in common."""

    transformer: FluxTransformer2DModel
    levels: NoiseLevels
    phases: Sequence[Phase]
    betas: Tensor
    """(T,)."""
    image_ids: Tensor
    """(S_img, 3), on the device."""
    region: RegionSettings
    guidance_scale: float | None
    device: torch.device

    def denoise(self, group: Group, on_step: Callable[[], None]) -> DenoisedGroup:
        """Return the clean latents of a group's images and of its background."""
        state = _State.start(self, group)
        for i, phase in enumerate(self.phases):
            if phase == "prefix":
                state.step_shared(i)
            elif state.weight is None or float(self.levels.sigmas[i]) >= self.region.read_until:
                state.step_reading(i)
            else:
                state.step_tied(i)
            on_step()
        return state.finish()


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
    weight: Tensor | None = None
    """m of each token, (S_img, 1); None until it was read."""

    @classmethod
    def start(cls, loop: RegionLoop, group: Group) -> "_State":
        dtype = loop.transformer.dtype
        batch = GroupBatch.stack([group], loop.device, dtype)
        background = batch.noise.to(loop.device, torch.promote_types(dtype, torch.float32))
        images = background[batch.group_of_row]
        return cls(loop, batch, background, images, torch.zeros(images.shape[:2]))

    def step_shared(self, i: int) -> None:
        self.background = self._advance(self.background, self._background_velocity(i), i)
        self.images = self.background[self.batch.group_of_row]

    def step_reading(self, i: int) -> None:
        velocity, background_velocity = self._image_velocity(i), self._background_velocity(i)
        sigma = self.loop.levels.sigmas[i].to(self.images.device)
        self.evidence += measure_evidence(
            self.images - sigma * velocity, (self.background - sigma * background_velocity)[0]
        )
        grid = token_grid(self.loop.image_ids)
        weight = choose_region(self.evidence, grid, self.loop.region)
        self.weight = weight.unsqueeze(-1).to(self.images)
        self.background = self._advance(self.background, background_velocity, i)
        self.images = _tie(self._advance(self.images, velocity, i), self.background, self.weight)

    def step_tied(self, i: int) -> None:
        assert self.weight is not None  # `denoise` reads a region first
        free = self.weight[:, 0] > 0
        inside, outside = free.nonzero()[:, 0], (~free).nonzero()[:, 0]
        transformer, phase = self.loop.transformer, self.loop.phases[i]
        # The background's row goes first: the images attend to its keys and values outside.
        with remember_background(transformer, self.batch.background.shape[1]) as memory:
            background = self._advance(self.background, self._background_velocity(i), i)
        with recall_background(transformer, memory, outside, is_coupled=phase == "middle"):
            velocity = self._predict(i, self.images[:, inside], phase, self.loop.image_ids[inside])
        moved = self._advance(self.images[:, inside], velocity, i)
        images = background[self.batch.group_of_row]
        images[:, inside] = _tie(moved, background[:, inside], self.weight[inside])
        self.background, self.images = background, images

    def finish(self) -> DenoisedGroup:
        free = torch.zeros(len(self.evidence[0]), 1) if self.weight is None else self.weight
        weights = free[:, 0].float().cpu().expand(len(self.images), -1)
        return DenoisedGroup(self.images, self.background, weights)

    def _image_velocity(self, i: int) -> Tensor:
        phase = self.loop.phases[i]
        with attention_of(self.loop.transformer, "region", is_coupled=phase == "middle"):
            return self._predict(i, self.images, phase, self.loop.image_ids)

    def _background_velocity(self, i: int) -> Tensor:
        return self._predict(i, self.background, "prefix", self.loop.image_ids)

    def _predict(self, i: int, latents: Tensor, phase: Phase, image_ids: Tensor) -> Tensor:
        loop = self.loop
        velocity = predict_velocity(
            loop.transformer,
            latents.to(loop.transformer.dtype),
            loop.levels.timesteps[i].to(loop.device),
            self.batch.condition(phase, loop.betas[i]),
            image_ids,
            loop.guidance_scale,
        )
        return velocity.to(latents.dtype)

    def _advance(self, latents: Tensor, velocity: Tensor, i: int) -> Tensor:
        sigmas = self.loop.levels.sigmas
        return latents + (sigmas[i + 1] - sigmas[i]).to(latents.device) * velocity


def _tie(images: Tensor, background: Tensor, weight: Tensor) -> Tensor:
    """Return background + m (image - background), exactly the background where m is 0."""
    return torch.where(weight > 0, background + weight * (images - background), background)
