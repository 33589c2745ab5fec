"""Whether the surroundings of entities can be told from those in stock images.

A classifier two-sample test (Lopez-Paz and Oquab 2017): where two sets of images look alike, no
classifier tells them apart, and its accuracy on images that it has not seen is 1/2. Seen are rings
around each entity, just off its mask, where seams, halos and wrong light would be.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.ndimage import distance_transform_edt, laplace

from coupled_core.research.evaluation.intervals import Interval, bootstrap_mean

_RING = 1 / 64
"""Width of a ring, in shorter sides: a pixel at 64."""
_NUM_RINGS = 6
_NUM_FOLDS = 10
_RIDGE = 1.0
"""Penalty on weights of standardised features: about a tenth of what 20 examples weigh."""

RingFeatures = tuple[float, ...]


def describe_rings(image: np.ndarray, mask: np.ndarray) -> RingFeatures | None:
    """Return what the rings around an entity look like, outwards.

    Of each ring: mean steepness of brightness, mean change of brightness on the way outwards, mean
    size of its second derivative, and mean change of colour from the ring before.

    Args:
        image: uint8, (H, W, 3), RGB.
        mask: of the entity, bool, (H, W).

    Returns:
        4 numbers a ring, in levels a pixel; None where a ring is empty or there is no entity.
    """
    if not mask.any():
        return None
    colours = image.astype(np.float64)
    brightness = colours.mean(axis=2)
    distance = distance_transform_edt(~mask) / (_RING * min(mask.shape))
    down, right = np.gradient(brightness)
    away_down, away_right = np.gradient(distance)
    steep, bend = np.hypot(down, right), np.abs(laplace(brightness))
    outwards = down * away_down + right * away_right
    found: list[float] = []
    before = None
    for number in range(_NUM_RINGS):
        ring = (distance > number) & (distance <= number + 1)
        if not ring.any():
            return None
        colour = colours[ring].mean(axis=0)
        change = 0.0 if before is None else float(np.abs(colour - before).mean())
        found += [float(of[ring].mean()) for of in (steep, outwards, bend)] + [change]
        before = colour
    return tuple(found)


def tell_apart(
    ours: Mapping[str, Sequence[RingFeatures]], stock: Mapping[str, Sequence[RingFeatures]]
) -> Interval | None:
    """Return how often a classifier says rightly which of two sets an image is of.

    The classifier is a ridge regression on standardised features and their squares. It is judged
    in 10 folds; a group is on one side of a fold with all its images, those of both sets.

    Args:
        ours: features of the images of each group.
        stock: the same of the other set; groups that one of them lacks are left out.

    Returns:
        Accuracy with its interval over groups, both sets weighing the same; None: fewer groups
        than folds.
    """
    groups = sorted(name for name in ours.keys() & stock.keys() if ours[name] and stock[name])
    if len(groups) < _NUM_FOLDS:
        return None
    sets = {1.0: ours, -1.0: stock}
    rows = [
        (fold % _NUM_FOLDS, group, label, features)
        for fold, group in enumerate(groups)
        for label, found in sets.items()
        for features in found[group]
    ]
    folds = np.array([fold for fold, *_ in rows])
    labels = np.array([label for _, _, label, _ in rows])
    values = np.array([features for *_, features in rows])
    right = np.zeros(len(rows))
    for fold in range(_NUM_FOLDS):
        held_out = folds == fold
        said = _classify(values[~held_out], labels[~held_out], values[held_out])
        right[held_out] = np.where(said == 0.0, 0.5, said == labels[held_out])
    by_set: dict[tuple[str, float], list[float]] = {}
    for (_, group, label, _), one in zip(rows, right, strict=True):
        by_set.setdefault((group, label), []).append(one)
    return bootstrap_mean(
        {group: [float(np.mean(by_set[group, label])) for label in sets] for group in groups}
    )


def _classify(seen: np.ndarray, labels: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return the sign of a ridge regression of labels on features, for new ones."""
    seen, new = (np.concatenate([rows, np.square(rows)], axis=1) for rows in (seen, new))
    mean, spread = seen.mean(axis=0), seen.std(axis=0)
    spread[spread == 0.0] = 1.0
    seen, new = (seen - mean) / spread, (new - mean) / spread
    weighed = seen.T @ seen + _RIDGE * np.eye(seen.shape[1])
    weights = np.linalg.solve(weighed, seen.T @ (labels - labels.mean()))
    return np.asarray(np.sign(new @ weights + labels.mean()))
