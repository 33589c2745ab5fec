"""Turns latents into images."""

import numpy as np
import torch
from diffusers import FluxPipeline
from torch import Tensor

_PIXELS_AT_ONCE = 2**22
"""Four images of 1024 x 1024; more would cost memory and gain nothing."""


@torch.no_grad()
def decode_latents(
    pipeline: FluxPipeline, latents: Tensor, width: int, height: int
) -> list[np.ndarray | None]:
    """Decode packed latents in batches.

    Args:
        pipeline: its autoencoder and image processor are used.
        latents: (R, S_img, in_channels), clean.
        width: pixels.
        height: pixels.

    Returns:
        For each row an image, uint8 (height, width, 3) RGB, or None where latents or pixels are not
        finite.
    """
    vae = pipeline.vae
    unpacked = pipeline._unpack_latents(latents, height, width, pipeline.vae_scale_factor)
    scaled = unpacked / vae.config.scaling_factor + vae.config.shift_factor
    images: list[np.ndarray | None] = []
    for chunk in scaled.split(max(1, _PIXELS_AT_ONCE // (width * height))):
        pixels = vae.decode(chunk.to(vae.dtype), return_dict=False)[0].float()
        finite = (
            chunk.isfinite().flatten(1).all(dim=1) & pixels.isfinite().flatten(1).all(dim=1)
        ).tolist()
        # Not a number has no colour; those rows are dropped below.
        unit = pipeline.image_processor.postprocess(pixels.nan_to_num(), output_type="np")
        levels = (unit * 255).round().astype(np.uint8)
        images += [image if ok else None for image, ok in zip(levels, finite, strict=True)]
    return images
