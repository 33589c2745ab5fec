"""What a pair shows around its entities, where masks are least to be trusted and seams would lie.

Lengths are shares of the shorter side: 0.0625 of 64 pixels are 4.
"""

from collections.abc import Sequence

import numpy as np

_CLEARANCE = 0.0625
"""How far off the masks the background counts as clear of them."""
_RIM = (0.03125, 0.078125)
"""Where the rim of an entity begins and ends."""


def widen(region: np.ndarray, share: float = _CLEARANCE) -> np.ndarray:
    """Return a region, bool (H, W), with everything nearer to it than a share of the side."""
    if not region.any():
        return np.asarray(region, dtype=bool)
    from scipy.ndimage import distance_transform_edt  # a second, as in `metrics`

    return np.asarray(
        distance_transform_edt(~np.asarray(region, dtype=bool)) <= share * min(region.shape)
    )


def rim_seam(images: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> float:
    """Return how much steeper brightness changes around an entity than without it.

    In a rim around each entity, off its mask, the image is compared with the other one at the same
    place, which shows the same background there. Seams and halos make it steeper.

    Args:
        images: of a pair, uint8, (H, W, 3).
        masks: of their entities, bool, (H, W).

    Returns:
        Mean excess of the gradient, in levels a pixel; below 0 where the other image is rougher,
        0 where there is no rim to look at.
    """
    slopes = [_slope(image) for image in images]
    excesses = []
    for own, other in ((0, 1), (1, 0)):
        near, far = (widen(masks[own], share) for share in _RIM)
        rim = far & ~near & ~widen(masks[other], _RIM[1])
        if rim.any():
            excesses.append(float((slopes[own] - slopes[other])[rim].mean()))
    return float(np.mean(excesses)) if excesses else 0.0


def _slope(image: np.ndarray) -> np.ndarray:
    down, right = np.gradient(image.astype(np.float64).mean(axis=2))
    return np.asarray(np.hypot(down, right))
