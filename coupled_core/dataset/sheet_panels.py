"""The pictures of a contact sheet's row: what is shown of one pair, as arrays."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]
"""(H, W, 3), RGB."""
Mask = NDArray[np.bool_]
"""(H, W)."""

DIFFERENCE_GAIN = 4
"""Differences are shown this much stronger: 16 of 255 is hard to see otherwise."""
_TINT = np.array((255, 0, 160))
_TINT_SHARE = 0.4
_OUTLINE_PX = 2
_JOINT_GREYS = (150, 170)
_HATCH_PX = 6


def fit(image: Picture, cell_px: int) -> Picture:
    """Scale a picture into a square cell: small ones by whole pixels, large ones smoothly."""
    height, width = image.shape[:2]
    factor = cell_px // max(height, width)
    if factor >= 1:
        return image.repeat(factor, axis=0).repeat(factor, axis=1)
    size = (
        max(1, round(width * cell_px / max(height, width))),
        max(1, round(height * cell_px / max(height, width))),
    )
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def fit_mask(mask: Mask, cell_px: int) -> Mask:
    """Scale a mask as `fit` scales the picture that it belongs to."""
    grey = np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255
    return fit(grey, cell_px)[..., 0] > 127


def tint_entity(image: Picture, mask: Mask, cell_px: int) -> Picture:
    """Show where the entity was found: a tint inside its mask, and an outline."""
    shown, inside = fit(image, cell_px).astype(np.float64), fit_mask(mask, cell_px)
    shown[inside] = (1 - _TINT_SHARE) * shown[inside] + _TINT_SHARE * _TINT
    shown[inside & ~_shrink(inside, _OUTLINE_PX)] = _TINT
    return shown.round().astype(np.uint8)


def show_difference(image_0: Picture, image_1: Picture, joint: Mask, cell_px: int) -> Picture:
    """Show the amplified absolute difference; the joint entity region, not compared, is hatched."""
    difference = np.abs(image_0.astype(np.int16) - image_1.astype(np.int16)) * DIFFERENCE_GAIN
    shown = fit(np.minimum(difference, 255).astype(np.uint8), cell_px).copy()
    inside = fit_mask(joint, cell_px)
    rows, columns = np.indices(inside.shape)
    hatch = np.where((rows + columns) // _HATCH_PX % 2, *_JOINT_GREYS).astype(np.uint8)
    shown[inside] = hatch[inside][:, None]
    return shown


def _shrink(mask: Mask, by_px: int) -> Mask:
    """Take `by_px` pixels off the edge of a mask; the frame's edge counts as an edge."""
    padded = np.pad(mask, by_px)
    height, width = mask.shape
    steps = range(2 * by_px + 1)
    shifted = [padded[y : y + height, x : x + width] for y in steps for x in steps]
    shrunk: Mask = np.logical_and.reduce(shifted)
    return shrunk
