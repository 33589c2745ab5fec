"""How the numbers of the pairs are distributed, kept and dropped ones apart."""

# ruff: noqa: E501  (a table reads best with one number a line)

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from coupled_core.filters import Filter, list_filters
from coupled_core.report.measurements import Measurements, Reals

_NUM_BINS = 32
_SHOWN_SHARE = 0.99
"""The axis covers this much of the pairs; the rest is counted in the first and last bin."""
_FARTHEST = 10.0
"""A bound that stands farther from all pairs than this many times their range is not shown: the
axis would have no room for anything else."""
_LEAST_POSITIVE = 1e-2
"""Where a logarithmic axis begins at the latest."""


@dataclass(frozen=True)
class Metric:
    """A number that is shown: of several columns the least, or the largest."""

    title: str
    meaning: str
    columns: tuple[str, ...]
    takes_least: bool = True

    def is_bounded_by(self, filter: Filter) -> bool:
        """Say whether a filter's bound is on this very number."""
        is_one = len(self.columns) == 1 or self.takes_least == filter.is_minimum
        return is_one and {*self.columns} == {*filter.columns}


@dataclass(frozen=True)
class Distribution:
    """Counts of one metric in bins of equal width on its axis."""

    metric: Metric
    edges: tuple[float, ...]
    """One more than there are bins, ascending."""
    num_kept: tuple[int, ...]
    num_dropped: tuple[int, ...]
    median: float
    in_force: tuple[float, ...]
    """Where thresholds on it stand; empty where there is none, or none near any pair."""
    is_logarithmic: bool


_AREAS = ("mask_0_area_fraction", "mask_1_area_fraction")
METRICS: tuple[Metric, ...] = (
    Metric("Combined J", "Weighs background similarity and alignment; the filter's threshold is on it.", ("combined",)),
    Metric("Background similarity S", "0 is identical outside the entities; lower is worse.", ("background_similarity",)),
    Metric("Alignment T", "How well both images show their prompts, by CLIP; higher is better.", ("alignment",)),
    Metric("Weaker prompt", "CLIP cosine of the image that shows its prompt less well.", ("clip_sim_0", "clip_sim_1")),
    Metric("Background clear of masks", "S without a rim around the masks, where shadows and halos lie.", ("background_similarity_clear",)),
    Metric("Seam", "Excess of the gradient around the entities, in levels a pixel; higher is worse.", ("rim_seam",)),
    Metric("Equal pixels", "Share of the frame in which both images are the same.", ("equal_fraction",)),
    Metric("Background PSNR", "Decibels outside the entities, at most 100; higher is better.", ("background_psnr",)),
    Metric("Background SSIM", "Structural similarity outside the entities; 1 is identical.", ("background_ssim",)),
    Metric("Directional similarity", "Whether the change of image follows the change of prompt, by CLIP.", ("clip_sim_dir",)),
    Metric("Image similarity", "CLIP cosine of the two images.", ("clip_sim_image",)),
    Metric("Change of pixels", "Mean squared difference of the whole images; near 0 nothing changed.", ("pixel_mse",)),
    Metric("Smaller entity", "Share of its image that the smaller entity covers; 0 where none was found.", _AREAS),
    Metric("Larger entity", "Largest share that an entity, or both together, cover.", (*_AREAS, "joint_entity_fraction"), takes_least=False),
    Metric("Weaker mask", "Segment Anything's own estimate of its less certain mask; 0 where none was found.", ("mask_0_predicted_iou", "mask_1_predicted_iou")),
)  # fmt: skip
"""What is shown of every dataset, whether a filter looks at it or not."""


def list_metrics() -> tuple[Metric, ...]:
    """Return `METRICS` and, for each filter on a number that is not among them, that number."""
    metrics = [*METRICS]
    for each in list_filters():
        if not any(metric.is_bounded_by(each) for metric in metrics):
            meaning = f"{each.measure[:1].upper()}{each.measure[1:]}."
            metrics.append(Metric(each.title, meaning, each.columns, each.is_minimum))
    return tuple(metrics)


def compute_distributions(
    pairs: Measurements, in_force: Mapping[str, Sequence[float]]
) -> tuple[Distribution, ...]:
    """Return the distribution of each metric over the scored pairs; none where nothing was scored.

    Args:
        pairs: All rows of a snapshot.
        in_force: Where the bound of each filter stands, by its setting.
    """
    made = (_distribute(pairs, metric, in_force) for metric in list_metrics())
    return tuple(each for each in made if each is not None)


def _distribute(
    pairs: Measurements, metric: Metric, in_force: Mapping[str, Sequence[float]]
) -> Distribution | None:
    values = pairs.combine(metric.columns, takes_least=metric.takes_least)
    is_shown = pairs.is_scored & ~np.isnan(values)
    finite = values[is_shown & np.isfinite(values)]
    if not len(finite):
        return None
    filters = [each for each in list_filters() if metric.is_bounded_by(each)]
    bounds = sorted({bound for each in filters for bound in in_force.get(each.setting, ())})
    is_logarithmic = any(each.is_logarithmic for each in filters)
    if not is_logarithmic:
        reach = _FARTHEST * np.ptp(finite) or np.inf
        bounds = [each for each in bounds if np.abs(finite - each).min() <= reach]
    edges = _edges(finite, bounds, is_logarithmic=is_logarithmic)
    # What lies beyond the axis is counted in the first and last bin.
    inside = np.clip(values, edges[0], edges[-1])
    kept, _ = np.histogram(inside[is_shown & pairs.is_kept], edges)
    dropped, _ = np.histogram(inside[is_shown & ~pairs.is_kept], edges)
    return Distribution(
        metric,
        edges=tuple(map(float, edges)),
        num_kept=tuple(map(int, kept)),
        num_dropped=tuple(map(int, dropped)),
        median=float(np.median(values[is_shown])),
        in_force=tuple(bounds),
        is_logarithmic=is_logarithmic,
    )


def _edges(values: Reals, in_force: Sequence[float], *, is_logarithmic: bool) -> Reals:
    """Return bins over nearly all values, and over the thresholds."""
    margin = (1 - _SHOWN_SHARE) / 2
    # A few extreme values would squeeze all others into one bin.
    low, high = np.quantile(values, [margin, 1 - margin])
    low, high = min(low, *in_force, high), max(high, *in_force, low)
    if is_logarithmic:
        low = max(low, _LEAST_POSITIVE)
        high = max(high, 10 * low)
        return np.geomspace(low, high, _NUM_BINS + 1)
    # All values alike: an axis needs some width.
    if high - low < 1e-6:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, _NUM_BINS + 1)
