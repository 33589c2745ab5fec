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
from dataclasses import dataclass
from itertools import count, groupby

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor

from coupled_core.config import CouplingMode
from coupled_core.coupling.ablation import THE_METHOD, Ablation
from coupled_core.coupling.install import attention_of
from coupled_core.generation.batch import Group, GroupBatch, Phase, predict_velocity
from coupled_core.generation.noise_levels import NoiseLevels
from coupled_core.generation.region_sampler import RegionLoop
from coupled_core.schedules.region import RegionSettings

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
    """Of mode region."""
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
) -> list[Tensor]:
    """Denoise several groups in one batch.

    In mode region each group is denoised by itself, see `generation.region_sampler`.

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
    sample = _sample_regions if settings.mode == "region" else _sample_together
    return sample(
        transformer, groups, levels, betas, image_ids, settings, device=device, on_step=on_step
    )


def _sample_together(
    transformer: FluxTransformer2DModel,
    groups: Sequence[Group],
    levels: NoiseLevels,
    betas: Tensor,
    image_ids: Tensor,
    settings: SamplerSettings,
    *,
    device: torch.device,
    on_step: OnStep | None,
) -> list[Tensor]:
    dtype = transformer.dtype
    batch = GroupBatch.stack(groups, device, dtype)
    latents = batch.noise.to(device, torch.promote_types(dtype, torch.float32))
    phases = choose_phases(betas, settings)
    num_steps, done, grouped = len(phases), 0, True
    for phase, steps in groupby(range(num_steps), key=phases.__getitem__):
        if phase != "prefix" and grouped:
            latents, grouped = latents[batch.group_of_row], False
        with attention_of(
            transformer,
            settings.mode,
            is_coupled=phase == "middle",
            texts_meet=settings.ablation.texts_meet,
        ):
            for i in steps:
                velocity = predict_velocity(
                    transformer,
                    latents.to(dtype),
                    levels.timesteps[i].to(device),
                    batch.rows_at(phase, betas[i], settings.ablation),
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


def _sample_regions(
    transformer: FluxTransformer2DModel,
    groups: Sequence[Group],
    levels: NoiseLevels,
    betas: Tensor,
    image_ids: Tensor,
    settings: SamplerSettings,
    *,
    device: torch.device,
    on_step: OnStep | None,
) -> list[Tensor]:
    if settings.region is None:
        raise ValueError("mode region expects region settings; got None")
    phases = choose_phases(betas, settings)
    loop = RegionLoop(
        transformer,
        levels,
        phases,
        betas,
        image_ids.to(device),
        settings.region,
        settings.guidance_scale,
        device,
    )
    done = count(1)

    def report() -> None:
        if on_step is not None:
            on_step(next(done), len(phases) * len(groups))

    return [loop.denoise(group, report) for group in groups]


def choose_phases(betas: Tensor, settings: SamplerSettings) -> list[Phase]:
    """Return prefix, middle or suffix for each step."""
    shares = settings.share and not settings.ablation.pooled_of_entity
    if not shares or settings.mode == "key_scale":
        return ["middle"] * len(betas)
    values = betas.detach().cpu().tolist()
    # A 0 after another value would have to bring the images together again: only leading zeros are
    # a prefix.
    num_prefix = next((i for i, beta in enumerate(values) if beta != 0.0), len(values))
    return [
        "prefix" if i < num_prefix else "suffix" if beta == 1.0 else "middle"
        for i, beta in enumerate(values)
    ]
