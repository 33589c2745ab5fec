"""Survival curves: how many pairs are kept as a function of each threshold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from coupled_core.report.measurements import Flags, Measurements
from coupled_core.report.thresholds import THRESHOLDS, Threshold

_NUM_QUANTILES = 101


@dataclass(frozen=True)
class SurvivalCurve:
    """Pairs kept as a function of one threshold while everything else stays as it was decided."""

    threshold: Threshold
    bounds: tuple[float, ...]
    """Where the threshold could stand, ascending; 1 % of the pairs lie between two neighbours."""
    num_kept: tuple[int, ...]
    """Pairs kept at each bound."""
    in_force: tuple[float, ...]
    """Where it stands; several values where runs had different ones, none where it is not known."""

    def kept_at(self, bound: float) -> int:
        """Return the pairs kept at the nearest bound of the curve."""
        nearest = int(np.argmin(np.abs(np.array(self.bounds) - bound)))
        return self.num_kept[nearest]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in JSON."""
        return {
            "in_force": list(self.in_force),
            "thresholds": [float(f"{bound:.6g}") for bound in self.bounds],
            "pairs_kept": list(self.num_kept),
        }


def compute_survival(
    pairs: Measurements, in_force: Mapping[str, Sequence[float]]
) -> tuple[SurvivalCurve, ...]:
    """Return the curve of each threshold that has values to compare.

    Args:
        pairs: All rows of a snapshot.
        in_force: Where each threshold stands, by name.
    """
    curves = (_curve(pairs, each, tuple(in_force.get(each.name, ()))) for each in THRESHOLDS)
    return tuple(curve for curve in curves if curve is not None)


def _curve(
    pairs: Measurements, threshold: Threshold, in_force: tuple[float, ...]
) -> SurvivalCurve | None:
    candidates = _stopped_by_nothing_else(pairs, threshold)
    values = threshold.measure(pairs)[candidates]
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    levels = np.linspace(0, 1, _NUM_QUANTILES)
    bounds = np.unique([*np.quantile(finite, levels, method="nearest"), *in_force])
    always = int(pairs.is_reviewed_keep.sum())  # a person's keep stands whatever the score
    passing = [int(threshold.passes(values, bound).sum()) + always for bound in bounds]
    return SurvivalCurve(threshold, tuple(map(float, bounds)), tuple(passing), in_force)


def _stopped_by_nothing_else(pairs: Measurements, threshold: Threshold) -> Flags:
    """Say which scored pairs only this threshold can drop."""
    own = pairs.reasons.get(threshold.reason.value, np.zeros(len(pairs), np.bool_))
    others = pairs.num_reasons - own
    candidates: Flags = pairs.is_scored & pairs.has_finite_scores() & (others == 0)
    return candidates & ~pairs.is_reviewed_keep
