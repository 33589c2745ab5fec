"""Lays the images of a group over their common background, in pixels.

Equal latents do not decode to equal pixels: the autoencoder normalises over the whole image, so an
entity in one corner tints the other. What is meant to be the background is therefore taken from the
background's own decoded pixels, not from the image's.
"""

import numpy as np
from torch import Tensor
from torch.nn import functional


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


def lay_over(image: np.ndarray, background: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return background + M (image - background), exactly the background where M is 0.

    Args:
        image: float pixels, (H, W, 3).
        background: the same.
        weight: M, (H, W).
    """
    share = weight[..., None]
    return np.where(share > 0, background + share * (image - background), background)
