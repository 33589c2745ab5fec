"""What a pair shows around its entities, where masks are least to be trusted and seams would lie.

Lengths are shares of the shorter side: 0.0625 of 64 pixels are 4.
"""

from collections.abc import Sequence

import numpy as np

_CLEARANCE = 0.0625
"""How far off the masks the background counts as clear of them."""
_RIM = (0.03125, 0.078125)
"""Where the rim of an entity begins and ends."""


def distance_px(region: np.ndarray) -> np.ndarray:
    """Return how far each place is from a region, bool (H, W), in pixels; inf: there is none.

    How far it is from the union of two is the smaller of the two distances.
    """
    if not region.any():
        return np.full(region.shape, np.inf)
    from scipy.ndimage import distance_transform_edt  # a second, as in `metrics`

    return np.asarray(distance_transform_edt(~np.asarray(region, dtype=bool)))


def is_near(distance: np.ndarray, share: float = _CLEARANCE) -> np.ndarray:
    """Return where a distance in pixels (H, W) is at most a share of the shorter side."""
    return np.asarray(distance <= share * min(distance.shape))


def rim_seam(images: Sequence[np.ndarray], distances: Sequence[np.ndarray]) -> float:
    """Return how much steeper brightness changes around an entity than without it.

    In a rim around each entity, off its mask, the image is compared with the other one at the same
    place, which shows the same background there. Seams and halos make it steeper.

    Args:
        images: of a pair, uint8, (H, W, 3).
        distances: from the masks of their entities, as `distance_px` measures them.

    Returns:
        Mean excess of the gradient, in levels a pixel; below 0 where the other image is rougher,
        0 where there is no rim to look at.
    """
    slopes = [_slope(image) for image in images]
    excesses = []
    for own, other in ((0, 1), (1, 0)):
        near, far = (is_near(distances[own], share) for share in _RIM)
        # A ring around the own entity, off its mask, and nowhere near the other's, where that image
        # shows no background.
        rim = far & ~near & ~is_near(distances[other], _RIM[1])
        if rim.any():
            excesses.append(float((slopes[own] - slopes[other])[rim].mean()))
    return float(np.mean(excesses)) if excesses else 0.0


def _slope(image: np.ndarray) -> np.ndarray:
    down, right = np.gradient(image.astype(np.float64).mean(axis=2))
    return np.asarray(np.hypot(down, right))
