"""Lays the images of a group over their common background, in pixels.

Equal latents do not decode to equal pixels: the autoencoder normalises over the whole image, so an
entity in one corner tints the other. What is meant to be the background is therefore taken from the
background's own decoded pixels, not from the image's: outside the region, and inside it wherever
the image shows nothing of its own.
"""

import numpy as np
from scipy.ndimage import (
    binary_erosion,
    binary_fill_holes,
    gaussian_filter,
    grey_closing,
    label,
    sum_labels,
)
from torch import Tensor
from torch.nn import functional

_SMOOTHING = 1 / 64
"""Standard deviation of the blur over differences, in shorter sides: single pixels are noisy."""
_GAP = 5 / 64
"""Gaps up to this width, in shorter sides, belong to what is around them."""
_LEAST_PART = 0.25
"""Share of the weightiest part's difference that another part needs. Smaller ones are no entities:
a second moon, a tinted tree."""


def upsample_weights(
    weights: Tensor, grid: tuple[int, int], width: int, height: int
) -> tuple[np.ndarray, ...]:
    """Return m of each image for its pixels, bilinear between the centres of tokens.

    Args:
        weights: m of each token, in [0, 1], float32 on the CPU, (N, S_img).
        grid: rows and columns of image tokens.
        width: pixels.
        height: pixels.

    Returns:
        M of each image, float32 (height, width) in [0, 1]: exactly 0 where the nearest tokens are.
    """
    planes = weights.reshape(len(weights), 1, *grid)  # (N, 1, rows, columns)
    # Edges along whole tokens would show: they jump by more than a level of brightness.
    pixels = functional.interpolate(planes, size=(height, width), mode="bilinear")
    return tuple(pixels[:, 0].clamp(0.0, 1.0).numpy())


def find_matte(image: np.ndarray, background: np.ndarray, full: float) -> np.ndarray:
    """Return how far each pixel shows something of the image's own.

    Args:
        image: float pixels in [0, 255], (H, W, 3).
        background: the same.
        full: difference, in levels, from which on it is all the image's own; above 0.

    Returns:
        Shares in [0, 1], (H, W), rising over differences from a third of `full` on; 1 inside of
        what is closed.
    """
    side = min(image.shape[:2])
    difference = gaussian_filter(np.abs(image - background).max(axis=2), _SMOOTHING * side)
    rising = np.clip((difference - full / 3) / (full - full / 3), 0.0, 1.0)
    matte = grey_closing(rising, size=max(1, round(_GAP * side)))
    inside = binary_erosion(binary_fill_holes(matte >= 0.5))
    matte = np.where(inside, 1.0, matte)
    parts, count = label(matte > 0)
    weights = sum_labels(matte * difference, parts, range(1, count + 1))
    kept = 1 + np.flatnonzero(weights >= _LEAST_PART * weights.max(initial=0.0))
    return np.where(np.isin(parts, kept), matte, 0.0)


def lay_over(image: np.ndarray, background: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return background + M (image - background), exactly the background where M is 0.

    Args:
        image: float pixels, (H, W, 3).
        background: the same.
        weight: M, (H, W).
    """
    share = weight[..., None]
    return np.where(share > 0, background + share * (image - background), background)
