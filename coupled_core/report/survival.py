"""Survival curves: how many pairs are kept as a function of each threshold."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from coupled_core.dataset.snapshot import RunInfo
from coupled_core.filters import Filter, list_filters
from coupled_core.report.measurements import Flags, Measurements
from coupled_core.report.numbers import format_number

_NUM_QUANTILES = 101


@dataclass(frozen=True)
class SurvivalCurve:
    """Pairs kept as a function of one bound while everything else stays as it was decided."""

    filter: Filter
    bounds: tuple[float, ...]
    """Where its bound could stand, ascending; 1 % of the pairs lie between two neighbours."""
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


def bounds_in_force(runs: Sequence[RunInfo]) -> dict[str, tuple[float, ...]]:
    """Return where each filter's bound stands, by its setting; runs can have different ones."""
    decided = [run.thresholds for run in runs]
    settings = [each.setting for each in list_filters()]
    return {
        name: tuple(sorted({float(bounds[name]) for bounds in decided if name in bounds}))
        for name in settings
    }


def compute_survival(
    pairs: Measurements, in_force: Mapping[str, Sequence[float]]
) -> tuple[SurvivalCurve, ...]:
    """Return the curve of each filter that has numbers to compare.

    Args:
        pairs: All rows of a snapshot.
        in_force: Where the bound of each filter stands, by its setting.
    """
    curves = (_curve(pairs, each, tuple(in_force.get(each.setting, ()))) for each in list_filters())
    return tuple(curve for curve in curves if curve is not None)


def _curve(
    pairs: Measurements, filter: Filter, in_force: tuple[float, ...]
) -> SurvivalCurve | None:
    candidates = _stopped_by_nothing_else(pairs, filter)
    values = pairs.combine(filter.columns, takes_least=filter.is_minimum)[candidates]
    loosest = -np.inf if filter.is_minimum else np.inf
    finite = values[np.isfinite(values) & filter.passes(values, loosest)]
    if not len(finite):
        return None
    levels = np.linspace(0, 1, _NUM_QUANTILES)
    # "nearest" takes values that occur, at which the count changes; bounds in force belong to the
    # curve, too.
    bounds = np.unique([*np.quantile(finite, levels, method="nearest"), *in_force])
    always = int(pairs.is_reviewed_keep.sum())  # a person's keep stands whatever the score
    passing = [int(filter.passes(values, bound).sum()) + always for bound in bounds]
    return SurvivalCurve(filter, tuple(map(float, bounds)), tuple(passing), in_force)


def _stopped_by_nothing_else(pairs: Measurements, filter: Filter) -> Flags:
    """Say which scored pairs only this filter can drop."""
    others = pairs.num_reasons - pairs.has_reason(filter.reason)
    candidates: Flags = pairs.is_scored & (others == 0) & ~pairs.is_reviewed_keep
    return candidates & pairs.are_finite(filter.finite_columns)


_INK, _SOFT, _RULE, _KEPT, _BOUND = "#1b1d1f", "#5a6067", "#e3e3de", "#0b6e5a", "#a3470f"
_COLUMNS = 2
_WIDTH_INCHES, _ROW_INCHES, _DPI = 9.6, 3.1, 130


def draw_survival_picture(curves: Sequence[SurvivalCurve], num_scored: int) -> bytes:
    """Return a PNG with a panel a filter; y runs to all scored pairs."""
    from matplotlib.figure import Figure  # half a second to import
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    num_rows = max(1, -(-len(curves) // _COLUMNS))
    size = (_WIDTH_INCHES, _ROW_INCHES * num_rows)
    margins = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    figure = Figure(figsize=size, dpi=_DPI, layout=margins)
    panels = figure.subplots(num_rows, _COLUMNS, squeeze=False).ravel()
    for panel, curve in zip(panels, curves, strict=False):
        _draw_panel(panel, curve, num_scored)
    for panel in panels[len(curves) :]:
        panel.set_axis_off()
    buffer = io.BytesIO()
    # Without matplotlib's version in it, equal numbers give equal bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_panel(panel: Any, curve: SurvivalCurve, num_scored: int) -> None:
    """Draw one curve as steps; a minimum drops pairs right after their value."""
    where = "pre" if curve.filter.is_minimum else "post"
    panel.fill_between(curve.bounds, curve.num_kept, step=where, color=_KEPT, alpha=0.12, lw=0)
    panel.step(curve.bounds, curve.num_kept, where=where, color=_KEPT, lw=1.6)
    for bound in curve.in_force:
        panel.axvline(bound, color=_BOUND, lw=1, ls=(0, (4, 3)))
        label = f" {format_number(bound)}: {curve.kept_at(bound):,} kept "
        is_left = _share(curve, bound) < 0.5
        panel.annotate(
            label,
            (bound, 1.0),
            xycoords=("data", "axes fraction"),
            ha="left" if is_left else "right",
            va="top",
            color=_BOUND,
            fontsize=8,
        )
    if curve.filter.is_logarithmic and curve.bounds[0] > 0:
        panel.set_xscale("log")
    panel.set_ylim(0, max(1, num_scored) * 1.04)
    panel.set_title(curve.filter.title, loc="left", fontsize=10, color=_INK, fontweight="bold")
    panel.set_xlabel(curve.filter.measure, fontsize=8, color=_SOFT)
    panel.set_ylabel("pairs kept", fontsize=8, color=_SOFT)
    panel.tick_params(which="both", labelsize=8, colors=_SOFT, length=0)
    panel.grid(axis="y", color=_RULE, lw=0.8)
    for side in ("top", "right", "left"):
        panel.spines[side].set_visible(False)
    panel.spines["bottom"].set_color(_RULE)


def _share(curve: SurvivalCurve, bound: float) -> float:
    low, high = curve.bounds[0], curve.bounds[-1]
    return (bound - low) / ((high - low) or 1.0)
