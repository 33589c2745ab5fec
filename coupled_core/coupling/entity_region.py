"""Finds where the entities of a group come to stand, while the images are still mostly noise."""

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor

from coupled_core.schedules.schedule import RegionSettings

_SMOOTHING = 0.044
"""Standard deviation of the blur over evidence, in shorter sides: single tokens are noisy."""
_RING = 0.094
"""Width of the ring outside the region in which crops are looked for, in shorter sides."""


def measure_evidence(image: Tensor, background: Tensor) -> Tensor:
    """Return where an image is about to differ from its background.

    Both predict their clean latents; what the entity's text changes in the prediction is large
    where the entity will be.

    Args:
        image: predicted clean latents, (N, S_img, channels).
        background: those of the group's background, (S_img, channels).

    Returns:
        Squared difference with mean 1 over the tokens of each image, float32 on the CPU,
        (N, S_img); zeros where there is no difference at all.
    """
    # Mean 1 an image, so that no image of the group outweighs the others, nor a step the other
    # steps. The bound keeps 0 / 0 at 0 where both predictions are equal.
    difference = (image - background).float().square().mean(dim=-1)  # (N, S_img)
    return (difference / difference.mean(dim=-1, keepdim=True).clamp(min=1e-12)).cpu()


def choose_region(evidence: Tensor, grid: tuple[int, int], settings: RegionSettings) -> Tensor:
    """Return the weight m of each token.

    Each image takes the tokens with the most evidence; the region is the union over the group, so
    that all images leave the same tokens free and agree elsewhere.

    Args:
        evidence: summed over the steps so far, (N, S_img).
        grid: rows and columns of image tokens.
        settings: size and edge.

    Returns:
        m in [0, 1], float32, (S_img,): 1 in the region and its rim, falling linearly over the
        feather, else exactly 0.
    """
    side = min(grid)
    chosen = np.zeros(grid, dtype=bool)
    for one in evidence.reshape(-1, *grid).numpy():
        # Lengths are in shorter sides, so that one setting serves all sizes of image.
        chosen |= _take_largest(gaussian_filter(one, _SMOOTHING * side), settings.size)
    # Distance of a token to the nearest chosen one, in tokens. Where all are chosen SciPy has
    # nothing to measure to and its result is undefined.
    distance = distance_transform_edt(~chosen) if not chosen.all() else np.zeros(grid)
    beyond_rim = distance / side - settings.margin
    if settings.feather > 0:
        weight = 1.0 - np.clip(beyond_rim / settings.feather, 0.0, 1.0)
    else:
        weight = beyond_rim <= 0
    return torch.from_numpy(weight.astype(np.float32)).flatten()


def measure_crop(evidence: Tensor, weight: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return how much of an entity seems to lie just outside the region, which crops it there.

    Args:
        evidence: summed over the steps in which the region was read, (N, S_img).
        weight: m of each token, (S_img,), as `choose_region` returned it in the last of them.
        grid: rows and columns of image tokens.

    Returns:
        Mean evidence in a ring around the region, divided by its mean inside, float32, (N,): small
        where the entity ends within, towards 1 and above where it goes on; 0 where there is no
        ring.
    """
    side = min(grid)
    inside = weight.reshape(grid).numpy() > 0
    if inside.all() or not inside.any():
        return torch.zeros(len(evidence))
    distance = distance_transform_edt(~inside)
    # At least the tokens that touch the region, however small the image is.
    ring = ~inside & (distance <= max(1.5, _RING * side))
    smooth = [
        gaussian_filter(one, _SMOOTHING * side) for one in evidence.reshape(-1, *grid).numpy()
    ]
    return torch.tensor([one[ring].mean() / max(one[inside].mean(), 1e-12) for one in smooth])


def _take_largest(values: np.ndarray, share: float) -> np.ndarray:
    count = max(1, round(share * values.size))
    taken = np.zeros(values.size, dtype=bool)
    # A stable order, so that ties never depend on the machine.
    taken[np.argsort(-values.ravel(), kind="stable")[:count]] = True
    return taken.reshape(values.shape)
