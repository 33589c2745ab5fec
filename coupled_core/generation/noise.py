"""Starting noise and noise levels of a run, the latter exactly those of a stock `FluxPipeline`."""

from dataclasses import dataclass

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from torch import Tensor


def draw_noise(pipeline: FluxPipeline, seed: int, width: int, height: int) -> Tensor:
    """Return the packed noise of all images of a sample, float32 on the CPU, (S_img, in_channels).

    It is the noise of `FluxPipeline(generator=torch.Generator("cpu").manual_seed(seed))` in
    float32.
    """
    channels = pipeline.transformer.config.in_channels // 4
    rows = 2 * (height // (pipeline.vae_scale_factor * 2))
    columns = 2 * (width // (pipeline.vae_scale_factor * 2))
    generator = torch.Generator("cpu").manual_seed(seed)
    noise = torch.randn(1, channels, rows, columns, generator=generator, dtype=torch.float32)
    packed: Tensor = pipeline._pack_latents(noise, 1, channels, rows, columns)
    return packed[0]


def image_ids(pipeline: FluxPipeline, width: int, height: int) -> Tensor:
    """Return FLUX's position ids of the image tokens, float32, (S_img, 3)."""
    rows = height // (pipeline.vae_scale_factor * 2)
    columns = width // (pipeline.vae_scale_factor * 2)
    ids: Tensor = pipeline._prepare_latent_image_ids(1, rows, columns, "cpu", torch.float32)
    return ids


@dataclass(frozen=True)
class NoiseLevels:
    """The noise levels of a run."""

    sigmas: Tensor
    """(T + 1,), float32 on the CPU, falling from about 1 to exactly 0."""
    timesteps: Tensor
    """(T,), float32: 1000 sigma, as FLUX is told."""


def compute_noise_levels(
    scheduler: FlowMatchEulerDiscreteScheduler, num_inference_steps: int, num_image_tokens: int
) -> NoiseLevels:
    """Return the noise levels that `FluxPipeline` would use; `scheduler` is left as it is."""
    own = FlowMatchEulerDiscreteScheduler.from_config(scheduler.config)
    sigmas = np.linspace(1.0, 1 / num_inference_steps, num_inference_steps)
    own.set_timesteps(sigmas=sigmas, mu=compute_shift(scheduler, num_image_tokens), device="cpu")
    return NoiseLevels(own.sigmas, own.timesteps)


def compute_shift(scheduler: FlowMatchEulerDiscreteScheduler, num_image_tokens: int) -> float:
    """Return mu, by which dynamic shifting moves the noise levels up for larger images."""
    config = scheduler.config
    return float(
        calculate_shift(
            num_image_tokens,
            config.get("base_image_seq_len", 256),
            config.get("max_image_seq_len", 4096),
            config.get("base_shift", 0.5),
            config.get("max_shift", 1.15),
        )
    )
