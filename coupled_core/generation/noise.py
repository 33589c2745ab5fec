"""The starting noise of a sample: one a seed, whatever the batch, the device and the dtype."""

import torch
from diffusers import FluxPipeline
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
