"""Turns latents into pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from coupled_core.generation.batch import DenoisedGroup
from coupled_core.generation.composite import find_matte, lay_over, upsample_weights
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


@dataclass(frozen=True)
class ShownGroup:
    """A group in pixels; an image is None where it is not finite."""

    images: list[np.ndarray | None]
    background: np.ndarray | None = None
    regions: tuple[np.ndarray, ...] | None = None
    crop_evidence: tuple[float, ...] | None = None


def decode_groups(
    family: Family,
    groups: Sequence[DenoisedGroup],
    grid: tuple[int, int],
    size_px: tuple[int, int],
    at_once: int,
    *,
    matte: float,
) -> list[ShownGroup]:
    """Decode groups, each background once, and lay images over backgrounds where there are some.

    Args:
        family: decodes.
        groups: all of one size.
        grid: rows and columns of image tokens.
        size_px: width and height.
        at_once: images that are decoded together.
        matte: in levels, see `find_matte`; 0: the whole region is the image's own.
    """
    # All of a batch decoded together: each group's images, then its background, as they are taken
    # out again below.
    rows = [row for group in groups for row in (group.images, group.background) if row is not None]
    decoded = iter(decode_pixels(family, torch.cat(rows), *size_px, at_once))
    shown = []
    for group in groups:
        images = [next(decoded) for _ in group.images]
        if group.background is None or group.weights is None:
            shown.append(ShownGroup([_round(image) for image in images]))
            continue
        background = next(decoded)
        regions = upsample_weights(group.weights, grid, *size_px)
        # Rounded once, at the end: what is rounded twice may end a level apart.
        laid = [
            None if image is None or background is None else _lay(image, background, region, matte)
            for image, region in zip(images, regions, strict=True)
        ]
        crops = None if group.crop_evidence is None else tuple(group.crop_evidence.tolist())
        shown.append(
            ShownGroup([_round(image) for image in laid], _round(background), regions, crops)
        )
    return shown


def _lay(image: np.ndarray, background: np.ndarray, region: np.ndarray, matte: float) -> np.ndarray:
    """Lay an image over its background where the region, and what it shows itself, say so."""
    if matte:
        within = lay_over(image, background, region)
        region = region * find_matte(within, background, matte)
    return lay_over(image, background, region)


def _round(pixels: np.ndarray | None) -> np.ndarray | None:
    return None if pixels is None else round_pixels(pixels)
