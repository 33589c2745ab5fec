"""The sampling loop: groups of images from one noise, Euler steps, beta between their texts.

Three phases, by the value of beta at the step's noise level:

* prefix, beta exactly 0: all images of a group are the same image; it is computed once, from the
  background text alone, by the stock model.
* middle: every image by itself, its text stream [background | entity], coupled attention.
* suffix, beta exactly 1: the background text has no weight; the stock model with the entity text.

In `log_bias` mode that is exact. In `key_scale` mode a zeroed key keeps the weight exp(0), so
images differ already at beta = 0 and the background never falls silent: there every step is a
middle step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count, groupby

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor

from coupled_core.config import CouplingMode
from coupled_core.coupling.ablation import THE_METHOD, Ablation
from coupled_core.coupling.install import attention_of
from coupled_core.coupling.latent_pull import pull_together
from coupled_core.generation.batch import (
    DenoisedGroup,
    Group,
    GroupBatch,
    Phase,
    predict_velocity,
)
from coupled_core.generation.pipeline import NoiseLevels
from coupled_core.generation.region_sampler import RegionLoop
from coupled_core.schedules.schedule import RegionSettings

OnStep = Callable[[int, int], None]
"""Called after each step with (steps done, steps in all)."""


@dataclass(frozen=True)
class SamplerSettings:
    """What stays the same over all steps of a run."""

    mode: CouplingMode
    guidance_scale: float | None
    """None for models without a guidance embedding."""
    share: bool = True
    """False computes every step as a middle step: slower, the same images in `log_bias` mode."""
    region: RegionSettings | None = None
    """Settings of mode region; None in the others."""
    ablation: Ablation = THE_METHOD


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
) -> list[DenoisedGroup]:
    """Denoise several groups in one batch.

    In mode region each group is denoised by itself, see `generation.region_sampler`.

    Latents stay in float32 (float64 for a float64 model) between steps, whatever the model's dtype.

    Args:
        transformer: the FLUX model, on `device` or under an offload hook.
        groups: of any mixture of N; all of one image size.
        levels: from `compute_noise_levels`.
        betas: the schedule at `levels.sigmas[:-1]`, (T,); may require a gradient. With a second
            column, (T, 2), that of double-stream and that of single-stream blocks.
        image_ids: (S_img, 3).
        settings: mode, guidance and sharing.
        device: where the transformer computes.
        on_step: progress.

    Returns:
        Clean packed latents of each group; in mode region those of its background, too.
    """
    call = _Call(transformer, groups, levels, betas, image_ids, settings, device, on_step)
    return _sample_regions(call) if settings.mode == "region" else _sample_together(call)


@dataclass(frozen=True)
class _Call:
    """The arguments of `sample_groups`."""

    transformer: FluxTransformer2DModel
    groups: Sequence[Group]
    levels: NoiseLevels
    betas: Tensor
    image_ids: Tensor
    settings: SamplerSettings
    device: torch.device
    on_step: OnStep | None

    def report(self, done: int, num_steps: int) -> None:
        if self.on_step is not None:
            self.on_step(done, num_steps)


def _sample_together(call: _Call) -> list[DenoisedGroup]:
    transformer, settings, ablation = call.transformer, call.settings, call.settings.ablation
    batch = GroupBatch.stack(call.groups, call.device, transformer.dtype)
    latents = batch.noise.to(call.device, torch.promote_types(transformer.dtype, torch.float32))
    sigmas, image_ids = call.levels.sigmas.to(call.device), call.image_ids.to(call.device)
    phases = choose_phases(call.betas, settings)
    grouped = True
    for phase, steps in groupby(range(len(phases)), key=phases.__getitem__):
        # One row stands for all images of a group as long as nothing tells them apart.
        if phase != "prefix" and grouped:
            latents, grouped = latents[batch.group_of_row], False
        is_coupled = phase == "middle"
        with attention_of(
            transformer, settings.mode, is_coupled=is_coupled, texts_meet=ablation.texts_meet
        ):
            for i in steps:
                velocity = predict_velocity(
                    transformer,
                    latents.to(transformer.dtype),
                    call.levels.timesteps[i].to(call.device),
                    batch.condition(phase, call.betas[i], ablation),
                    image_ids,
                    settings.guidance_scale,
                ).to(latents.dtype)
                if not grouped and float(1 - sigmas[i]) < ablation.pull_until:
                    velocity = pull_together(
                        latents, velocity, sigmas[i], batch.group_of_row, ablation.pull
                    )
                latents = latents + (sigmas[i + 1] - sigmas[i]) * velocity
                call.report(i + 1, len(phases))
    if grouped:
        latents = latents[batch.group_of_row]
    sizes = [len(group.entities) for group in call.groups]
    return [DenoisedGroup(images) for images in torch.split(latents, sizes)]


def _sample_regions(call: _Call) -> list[DenoisedGroup]:
    if call.settings.region is None:
        raise ValueError("mode region expects region settings; got None")
    phases = choose_phases(call.betas, call.settings)
    loop = RegionLoop(
        call.transformer,
        call.levels,
        phases,
        call.betas,
        call.image_ids.to(call.device),
        call.settings.region,
        call.settings.guidance_scale,
        call.device,
    )
    done, num_steps = count(1), len(phases) * len(call.groups)
    return [
        loop.denoise(group, lambda: call.report(next(done), num_steps)) for group in call.groups
    ]


def choose_phases(betas: Tensor, settings: SamplerSettings) -> list[Phase]:
    """Return prefix, middle or suffix for each step."""
    shares = settings.share and not settings.ablation.pooled_of_entity
    if not shares or settings.mode == "key_scale":
        return ["middle"] * len(betas)
    values = betas.detach().cpu().reshape(len(betas), -1)  # a column a schedule
    silent, alone = (values == 0.0).all(1).tolist(), (values == 1.0).all(1).tolist()
    # A 0 after another value would have to bring the images together again: only leading zeros are
    # a prefix.
    num_prefix = silent.index(False) if False in silent else len(silent)
    return [
        "prefix" if i < num_prefix else "suffix" if alone[i] else "middle"
        for i in range(len(alone))
    ]
