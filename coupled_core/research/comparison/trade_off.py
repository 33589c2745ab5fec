"""Background similarity against alignment, a curve a method along its main knob.

One point can be bought with a lucky knob; the curve shows who is ahead. Up and right is better.
"""

import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from coupled_core.research.comparison.results import rows_of
from coupled_core.research.comparison.settings import OURS
from coupled_core.research.comparison.summary import Row, mean_of
from coupled_core.research.evaluation.intervals import Interval
from coupled_core.scoring.metrics import ALIGNMENT_WEIGHT, COMBINED_OFFSET, SIMILARITY_WEIGHT

_OURS_COLOUR = "#d62728"
_COLOURS = (
    "#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#e377c2",
    "#17becf", "#bcbd22", "#ff7f0e", "#393b79", "#637939", "#7f7f7f",
)  # fmt: skip
_MARKERS = "osD^vP<>Xhd"
_SIZE_INCHES, _DPI = (10.0, 6.2), 120


@dataclass(frozen=True)
class TradeOffPoint:
    """One setting of a method."""

    variant: str
    """Knob and value; "" where the method has no main knob."""
    similarity: Interval
    alignment: Interval


@dataclass(frozen=True)
class Curve:
    """One method along its main knob."""

    method: str
    points: tuple[TradeOffPoint, ...]
    """In the order of the rising knob."""
    tuned: TradeOffPoint | None
    """The method as it was tuned, on the same groups; None: it was not compared."""


def trace_curves(results: pa.Table) -> list[Curve]:
    """Return the curves that the results hold, ours last, so that it is drawn on top."""
    cells: defaultdict[str, defaultdict[str, list[Row]]]
    cells = defaultdict(lambda: defaultdict(list))
    groups: set[str] = set()
    for row in rows_of(results, "trade-off"):
        cells[row["method"]][row["variant"]].append(row)
        groups.add(row["group_id"])
    compared: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows_of(results, "comparison"):
        if row["group_id"] in groups:
            compared[row["method"]].append(row)
    curves = []
    for method in sorted(cells, key=lambda name: (name == OURS, name)):
        found = [_place(variant, rows) for variant, rows in cells[method].items()]
        points = sorted((point for point in found if point), key=_knob_value)
        curves.append(Curve(method, tuple(points), _place("", compared[method])))
    return curves


def draw_trade_off(results: pa.Table) -> bytes | None:
    """Return the plot as PNG; None: the results hold no curves."""
    curves = trace_curves(results)
    if not curves:
        return None
    figure = Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.add_subplot()
    for index, curve in enumerate(curves):
        is_ours = curve.method == OURS
        colour = _OURS_COLOUR if is_ours else _COLOURS[index % len(_COLOURS)]
        _draw_curve(axes, curve, colour, _MARKERS[index % len(_MARKERS)], is_ours=is_ours)
    _draw_equal_combined(axes)
    axes.set_xlabel("background similarity S (0: equal)")
    axes.set_ylabel("alignment T")
    axes.set_title("Each method along its main knob; stars: as tuned; grey: equal combined J")
    figure.legend(loc="outside right upper", frameon=False)
    buffer = io.BytesIO()
    canvas.print_figure(buffer, format="png")
    return buffer.getvalue()


def _draw_curve(axes: Axes, curve: Curve, colour: str, marker: str, *, is_ours: bool) -> None:
    for points, line, sign in ((curve.points, "-", marker), ((curve.tuned,), "", "*")):
        shown = [point for point in points if point is not None]
        if not shown:
            continue
        axes.errorbar(
            [point.similarity.mean for point in shown],
            [point.alignment.mean for point in shown],
            xerr=_errors([point.similarity for point in shown]),
            yerr=_errors([point.alignment for point in shown]),
            label=curve.method if sign == marker else None,
            color=colour,
            linestyle=line,
            linewidth=2.6 if is_ours else 1.3,
            marker=sign,
            markersize=15 if sign == "*" else 6 if is_ours else 4.5,
            markeredgecolor="white" if sign == "*" else colour,
            elinewidth=0.6,
            zorder=4 if sign == "*" else 3,
        )


def _draw_equal_combined(axes: Axes) -> None:
    """Draw lines along which J does not change, within the axes as the curves set them."""
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    ends = np.array([left, right])
    corners = [SIMILARITY_WEIGHT * x + ALIGNMENT_WEIGHT * y + COMBINED_OFFSET
               for x, y in ((left, bottom), (right, top))]  # fmt: skip
    for level in np.linspace(corners[0], corners[1], 8)[1:-1]:
        heights = (level - COMBINED_OFFSET - SIMILARITY_WEIGHT * ends) / ALIGNMENT_WEIGHT
        axes.plot(ends, heights, color="#c9ced3", linewidth=0.7, linestyle="--", zorder=1)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)


def _place(variant: str, rows: Sequence[Row]) -> TradeOffPoint | None:
    similarity, alignment = mean_of(rows, "background_similarity"), mean_of(rows, "alignment")
    if similarity is None or alignment is None:
        return None
    return TradeOffPoint(variant, similarity, alignment)


def _knob_value(point: TradeOffPoint) -> float:
    return float(point.variant.rpartition("= ")[2] or 0.0)


def _errors(intervals: Sequence[Interval]) -> list[list[float]]:
    return [[i.mean - i.low for i in intervals], [i.high - i.mean for i in intervals]]
