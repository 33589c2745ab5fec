"""How the scores of the pairs are distributed, kept and dropped ones apart."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from coupled_core.report.measurements import Measurements, Reals
from coupled_core.report.thresholds import largest_region, smallest_mask

_NUM_BINS = 32
_SHOWN_SHARE = 0.99
"""The axis covers this much of the pairs; the rest is counted in the first and last bin."""
_LEAST_POSITIVE = 1e-2
"""Where a logarithmic axis begins at the latest."""


@dataclass(frozen=True)
class Metric:
    """A number that is shown."""

    name: str
    title: str
    meaning: str
    measure: Callable[[Measurements], Reals]
    threshold: str | None = None
    """Name of the threshold on it."""
    is_logarithmic: bool = False


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
    """Where the threshold stands; empty where there is none."""


def _column(name: str) -> Callable[[Measurements], Reals]:
    return lambda pairs: pairs.of(name)


METRICS: tuple[Metric, ...] = (
    Metric(
        "combined",
        "Combined J",
        "Weighs background similarity and alignment; the filter's threshold is on it.",
        _column("combined"),
        "min_combined",
    ),
    Metric(
        "background_similarity",
        "Background similarity S",
        "0 is identical outside the entities; lower is worse.",
        _column("background_similarity"),
    ),
    Metric(
        "alignment",
        "Alignment T",
        "How well both images show their prompts, by CLIP; higher is better.",
        _column("alignment"),
    ),
    Metric(
        "weaker_prompt",
        "Weaker prompt",
        "CLIP cosine of the image that shows its prompt less well.",
        lambda pairs: np.minimum(pairs.of("clip_sim_0"), pairs.of("clip_sim_1")),
    ),
    Metric(
        "background_psnr",
        "Background PSNR",
        "Decibels outside the entities, at most 100; higher is better.",
        _column("background_psnr"),
    ),
    Metric(
        "background_ssim",
        "Background SSIM",
        "Structural similarity outside the entities; 1 is identical.",
        _column("background_ssim"),
    ),
    Metric(
        "clip_sim_dir",
        "Directional similarity",
        "Whether the change of image follows the change of prompt, by CLIP.",
        _column("clip_sim_dir"),
    ),
    Metric(
        "clip_sim_image",
        "Image similarity",
        "CLIP cosine of the two images.",
        _column("clip_sim_image"),
    ),
    Metric(
        "pixel_mse",
        "Change of pixels",
        "Mean squared difference of the whole images; near 0 nothing changed.",
        _column("pixel_mse"),
        "min_pixel_mse",
        is_logarithmic=True,
    ),
    Metric(
        "smaller_entity",
        "Smaller entity",
        "Share of its image that the smaller entity covers; 0 where none was found.",
        lambda pairs: np.maximum(smallest_mask(pairs), 0.0),
        "min_mask_fraction",
    ),
    Metric(
        "larger_entity",
        "Larger entity",
        "Largest share that an entity, or both together, cover.",
        largest_region,
        "max_mask_fraction",
    ),
    Metric(
        "weaker_mask",
        "Weaker mask",
        "Segment Anything's own estimate of its less certain mask; 0 where none was found.",
        lambda pairs: np.minimum(
            pairs.of("mask_0_predicted_iou"), pairs.of("mask_1_predicted_iou")
        ),
    ),
)


def compute_distributions(
    pairs: Measurements, in_force: Mapping[str, Sequence[float]]
) -> tuple[Distribution, ...]:
    """Return the distribution of each metric over the scored pairs; none where nothing was scored.

    Args:
        pairs: All rows of a snapshot.
        in_force: Where each threshold stands, by name.
    """
    made = (_distribute(pairs, m, tuple(in_force.get(m.threshold or "", ()))) for m in METRICS)
    return tuple(each for each in made if each is not None)


def _distribute(
    pairs: Measurements, metric: Metric, in_force: tuple[float, ...]
) -> Distribution | None:
    values = metric.measure(pairs)
    is_shown = pairs.is_scored & ~np.isnan(values)
    finite = values[is_shown & np.isfinite(values)]
    if not len(finite):
        return None
    edges = _edges(finite, in_force, is_logarithmic=metric.is_logarithmic)
    inside = np.clip(values, edges[0], edges[-1])
    kept, _ = np.histogram(inside[is_shown & pairs.is_kept], edges)
    dropped, _ = np.histogram(inside[is_shown & ~pairs.is_kept], edges)
    return Distribution(
        metric,
        tuple(map(float, edges)),
        tuple(map(int, kept)),
        tuple(map(int, dropped)),
        float(np.median(values[is_shown])),
        in_force,
    )


def _edges(values: Reals, in_force: Sequence[float], *, is_logarithmic: bool) -> Reals:
    """Return bins over nearly all values, and over the thresholds."""
    margin = (1 - _SHOWN_SHARE) / 2
    low, high = np.quantile(values, [margin, 1 - margin])
    low, high = min(low, *in_force, high), max(high, *in_force, low)
    if is_logarithmic:
        low = max(low, _LEAST_POSITIVE)
        high = max(high, 10 * low)
        return np.geomspace(low, high, _NUM_BINS + 1)
    if high - low < 1e-6:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, _NUM_BINS + 1)
