"""Turns latents into pixels."""

import numpy as np
import torch
from torch import Tensor

from coupled_core.generation.families.family import Family
from coupled_core.generation.memory_plan import images_at_once


def decode_latents(
    family: Family, latents: Tensor, width: int, height: int
) -> list[np.ndarray | None]:
    """Do `decode_pixels` and round: uint8 (height, width, 3) RGB."""
    decoded = decode_pixels(family, latents, width, height)
    return [None if pixels is None else round_pixels(pixels) for pixels in decoded]


def round_pixels(pixels: np.ndarray) -> np.ndarray:
    """Return uint8 of float pixels in [0, 255]."""
    return np.asarray(pixels.round().astype(np.uint8))


@torch.no_grad()
def decode_pixels(
    family: Family, latents: Tensor, width: int, height: int, at_once: int = 2**16
) -> list[np.ndarray | None]:
    """Decode packed latents in batches.

    Args:
        family: its autoencoder and image processor are used.
        latents: (R, S_img, in_channels), clean.
        width: pixels.
        height: pixels.
        at_once: most images of a batch.

    Returns:
        For each row an image, float32 in [0, 255], (height, width, 3) RGB, or None where latents or
        pixels are not finite.
    """
    vae, processor = family.pipeline.vae, family.pipeline.image_processor
    unpacked = family.unpack(latents, width, height)
    images: list[np.ndarray | None] = []
    num_together = min(at_once, images_at_once(width, height))
    for chunk in torch.split(unpacked, num_together):
        # (r, 3, H, W), about [-1, 1].
        pixels = family.decode(chunk.to(vae.dtype)).float()
        finite = (
            chunk.isfinite().flatten(1).all(dim=1) & pixels.isfinite().flatten(1).all(dim=1)
        ).tolist()
        # Not a number has no colour; those rows are dropped below.
        unit = processor.postprocess(pixels.nan_to_num(), output_type="np")
        levels = unit * 255
        images += [image if ok else None for image, ok in zip(levels, finite, strict=True)]
    return images
