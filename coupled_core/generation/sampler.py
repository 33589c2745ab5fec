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
from itertools import count

import torch
from torch import Tensor

from coupled_core.coupling.ablation import THE_METHOD, Ablation
from coupled_core.coupling.install import coupled_attention
from coupled_core.coupling.latent_pull import pull_together
from coupled_core.generation.batch import DenoisedGroup, Group, GroupBatch, Phase, Predictor
from coupled_core.generation.families.family import Family, Frame, NoiseLevels
from coupled_core.generation.region_sampler import RegionLoop
from coupled_core.records import CouplingMode
from coupled_core.schedules.schedule import RegionSettings

OnStep = Callable[[int, int], None]
"""Called after each step with (steps done, steps in all)."""


@dataclass(frozen=True)
class SamplerSettings:
    """What stays the same over all steps of a run."""

    mode: CouplingMode
    guidance_scale: float | None
    """None: models that are not guided."""
    share: bool = True
    """False computes every step as a middle step: slower, the same images in `log_bias` mode."""
    region: RegionSettings | None = None
    """Settings of mode region; None in the others."""
    ablation: Ablation = THE_METHOD


def sample_groups(
    family: Family,
    groups: Sequence[Group],
    levels: NoiseLevels,
    betas: Tensor,
    frame: Frame,
    settings: SamplerSettings,
    *,
    on_step: OnStep | None = None,
) -> list[DenoisedGroup]:
    """Denoise several groups in one batch.

    In mode region each group is denoised by itself, see `generation.region_sampler`.

    Latents stay in float32 (float64 for a float64 model) between steps, whatever the model's dtype.

    Args:
        family: the model, loaded and placed.
        groups: of any mixture of N; all of one image size.
        levels: from `compute_noise_levels`.
        betas: the schedule at `levels.sigmas[:-1]`, (T,); may require a gradient. With a second
            column, (T, 2), that of double-stream and that of single-stream blocks.
        frame: the image tokens of the size.
        settings: mode, guidance and sharing.
        on_step: progress.

    Returns:
        Clean packed latents of each group; in mode region those of its background, too.
    """
    call = _Call(groups, betas, frame.to(family.device), settings, on_step)
    with coupled_attention(
        family.transformer,
        family.build_processor,
        settings.mode,
        settings.ablation,
    ) as attention:
        # What a step asks of the device makes the CPU wait for it; so all of it is there before.
        levels = levels.to(family.device)
        predictor = Predictor(family, attention, levels, settings.guidance_scale)
        sample = _sample_regions if settings.mode == "region" else _sample_together
        return sample(predictor, call)


@dataclass(frozen=True)
class _Call:
    """Arguments of `sample_groups`."""

    groups: Sequence[Group]
    betas: Tensor
    frame: Frame
    settings: SamplerSettings
    on_step: OnStep | None

    def report(self, done: int, num_steps: int) -> None:
        if self.on_step is not None:
            self.on_step(done, num_steps)


def _sample_together(predictor: Predictor, call: _Call) -> list[DenoisedGroup]:
    ablation, device = call.settings.ablation, predictor.family.device
    dtype = predictor.family.transformer.dtype
    batch = GroupBatch.stack(call.groups, device, dtype)
    latents = batch.noise.to(device, torch.promote_types(dtype, torch.float32))
    sigmas, times = predictor.levels.sigmas.to(device), predictor.levels.sigmas.tolist()
    phases, betas = choose_phases(call.betas, call.settings), call.betas.to(device)
    grouped = True
    for i, phase in enumerate(phases):
        # One row stands for all images of a group as long as nothing tells them apart.
        if phase != "prefix" and grouped:
            latents, grouped = latents[batch.group_of_row], False
        conditioning = batch.condition(phase, betas[i], ablation)
        velocity = predictor.predict(i, latents, conditioning, call.frame)
        if predictor.is_guided(batch):
            nothing = batch.condition_on_nothing(len(latents))
            velocity = predictor.combine(
                velocity, predictor.predict(i, latents, nothing, call.frame)
            )
        if not grouped and 1 - times[i] < ablation.pull_until:
            velocity = pull_together(
                latents, velocity, sigmas[i], batch.group_of_row, ablation.pull
            )
        # An Euler step of dx / dsigma = v; sigma falls, so the difference is negative.
        latents = latents + (sigmas[i + 1] - sigmas[i]) * velocity
        call.report(i + 1, len(phases))
    if grouped:
        latents = latents[batch.group_of_row]
    sizes = [len(group.entities) for group in call.groups]
    return [DenoisedGroup(images) for images in torch.split(latents, sizes)]


def _sample_regions(predictor: Predictor, call: _Call) -> list[DenoisedGroup]:
    if call.settings.region is None:
        raise ValueError("mode region expects region settings; got None")
    phases = choose_phases(call.betas, call.settings)
    betas = call.betas.to(predictor.family.device)
    loop = RegionLoop(predictor, phases, betas, call.frame, call.settings.region)
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
    # Exactly, since only then the other text has no weight at all.
    silent, alone = (values == 0.0).all(1).tolist(), (values == 1.0).all(1).tolist()
    # A 0 after another value would have to bring the images together again: only leading zeros are
    # a prefix.
    num_prefix = silent.index(False) if False in silent else len(silent)
    return [
        "prefix" if i < num_prefix else "suffix" if alone[i] else "middle"
        for i in range(len(alone))
    ]
