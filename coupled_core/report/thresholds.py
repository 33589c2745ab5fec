"""The filter's thresholds as data: what each compares, in which direction, and where it stands."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from coupled_core.dataset.snapshot import RunInfo
from coupled_core.records import RejectReason
from coupled_core.report.measurements import Flags, Measurements, Reals


@dataclass(frozen=True)
class Threshold:
    """One bound of `config.FilterConfig`."""

    name: str
    """Field of the filter's settings."""
    reason: RejectReason
    """What a pair on the wrong side is dropped for."""
    measure: Callable[[Measurements], Reals]
    """The number that is compared, one a row."""
    is_minimum: bool
    title: str
    axis: str
    """What the number is, for the axis of a chart."""
    is_logarithmic: bool = False
    """The number spans orders of magnitude."""

    def passes(self, values: Reals, bound: float) -> Flags:
        """Say which values are on the right side of a bound; NaN never is."""
        return values >= bound if self.is_minimum else values <= bound


def smallest_mask(pairs: Measurements) -> Reals:
    """Return the area of the smaller entity of each pair; an empty mask is below every minimum."""
    area = np.minimum(pairs.of("mask_0_area_fraction"), pairs.of("mask_1_area_fraction"))
    return np.where(area == 0.0, -np.inf, area)


def largest_region(pairs: Measurements) -> Reals:
    """Return the largest of both entity masks and the joint region of each pair."""
    masks = np.maximum(pairs.of("mask_0_area_fraction"), pairs.of("mask_1_area_fraction"))
    return np.maximum(masks, pairs.of("joint_entity_fraction"))


THRESHOLDS: tuple[Threshold, ...] = (
    Threshold(
        "min_combined",
        RejectReason.BELOW_MIN_COMBINED,
        lambda pairs: pairs.of("combined"),
        is_minimum=True,
        title="Least combined score",
        axis="combined score J",
    ),
    Threshold(
        "min_mask_fraction",
        RejectReason.EMPTY_MASK,
        smallest_mask,
        is_minimum=True,
        title="Smallest entity",
        axis="share of the image that the smaller entity covers",
    ),
    Threshold(
        "max_mask_fraction",
        RejectReason.MASK_TOO_LARGE,
        largest_region,
        is_minimum=False,
        title="Largest entity",
        axis="share of the image that the entities cover",
    ),
    Threshold(
        "min_pixel_mse",
        RejectReason.NEAR_IDENTICAL,
        lambda pairs: pairs.of("pixel_mse"),
        is_minimum=True,
        title="Least change",
        axis="mean squared difference of the images",
        is_logarithmic=True,
    ),
)


def bounds_in_force(runs: Sequence[RunInfo]) -> dict[str, tuple[float, ...]]:
    """Return where each threshold stands, by name; several values where runs had different ones."""
    found: dict[str, set[float]] = {threshold.name: set() for threshold in THRESHOLDS}
    for run in runs:
        for name, bounds in found.items():
            if name in run.thresholds:
                bounds.add(float(run.thresholds[name]))
    return {name: tuple(sorted(bounds)) for name, bounds in found.items()}
