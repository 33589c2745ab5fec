"""Means and shares with 95 % intervals: of groups by resampling, of counts by Wilson's formula.

Pairs of a group share prompts and noise, so they are not independent: what is drawn with
replacement is the group (a cluster bootstrap, percentile intervals; Efron and Tibshirani 1993,
chapters 8 and 13). Every group counts the same, however many pairs it has.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

LEVEL = 0.95
_Z = 1.959964  # two-sided, of the normal distribution
_CHUNK_VALUES = 4_000_000
"""Drawn at a time, so that thousands of groups need no gigabytes."""


@dataclass(frozen=True)
class Interval:
    """A mean and where it may lie."""

    mean: float
    low: float
    """2.5 % point; the mean itself where there is one value only."""
    high: float
    """97.5 % point."""
    count: int
    """What was drawn independently: groups, not pairs; cases of a share."""

    @property
    def excludes_zero(self) -> bool:
        """Whether the sign of the mean is beyond doubt at this level."""
        return self.low > 0.0 or self.high < 0.0


def bootstrap_mean(
    values_by_group: Mapping[str, Sequence[float]], seed: int = 0, num_resamples: int = 2000
) -> Interval:
    """Return the mean of the groups' means with its interval.

    Args:
        values_by_group: finite values, at least one a group.
        seed: of the resampling; the same values in any order of groups give the same interval.
        num_resamples: how often the groups are drawn.
    """
    means = _average(values_by_group)
    return bootstrap_values([means[group] for group in sorted(means)], seed, num_resamples)


def bootstrap_values(values: Sequence[float], seed: int = 0, num_resamples: int = 2000) -> Interval:
    """Return the mean of independent values with its interval."""
    array = np.asarray(values, dtype=np.float64)
    resampled = _resample_means(array, np.random.default_rng(seed), num_resamples)
    tail = 50.0 * (1.0 - LEVEL)
    low, high = np.percentile(resampled, [tail, 100.0 - tail])
    return Interval(float(array.mean()), float(low), float(high), len(array))


def wilson_interval(successes: int, count: int) -> Interval:
    """Return successes / count with the score interval (Wilson 1927)."""
    if not 0 <= successes <= count or count == 0:
        raise ValueError(f"got {successes} of {count}, expected 0 <= successes <= count, count > 0")
    share = successes / count
    centre = share + _Z**2 / (2 * count)
    half = _Z * math.sqrt(share * (1 - share) / count + (_Z / (2 * count)) ** 2)
    scale = 1 + _Z**2 / count
    low, high = max((centre - half) / scale, 0.0), min((centre + half) / scale, 1.0)
    return Interval(share, low, high, count)


def bootstrap_difference(
    a_by_group: Mapping[str, Sequence[float]],
    b_by_group: Mapping[str, Sequence[float]],
    seed: int = 0,
    num_resamples: int = 2000,
) -> Interval:
    """Return the mean of a - b, paired by group, with its interval.

    Raises:
        ValueError: the two do not have the same groups.
    """
    if set(a_by_group) != set(b_by_group):
        odd = sorted(set(a_by_group) ^ set(b_by_group))
        raise ValueError(f"expected the same groups on both sides; only one side has {odd[:5]}")
    a, b = _average(a_by_group), _average(b_by_group)
    return bootstrap_mean({group: [a[group] - b[group]] for group in a}, seed, num_resamples)


def _average(values_by_group: Mapping[str, Sequence[float]]) -> dict[str, float]:
    if not values_by_group or not all(len(values) for values in values_by_group.values()):
        raise ValueError("expected at least one group, and at least one value in each")
    means = {group: float(np.mean(values)) for group, values in values_by_group.items()}
    odd = [group for group, mean in means.items() if not np.isfinite(mean)]
    if odd:
        raise ValueError(f"expected finite values; those of {odd[:5]} are not")
    return means


def _resample_means(values: np.ndarray, rng: np.random.Generator, num: int) -> np.ndarray:
    rows = max(1, _CHUNK_VALUES // len(values))
    chunks = [
        values[rng.integers(0, len(values), (min(rows, num - start), len(values)))].mean(axis=1)
        for start in range(0, num, rows)
    ]
    return np.concatenate(chunks)
