"""Geometry of the charts: numbers to SVG coordinates; templates draw what stands here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from coupled_core.report.distributions import Distribution
from coupled_core.report.numbers import format_number
from coupled_core.report.schedule_curve import ScheduleCurve
from coupled_core.report.survival import SurvivalCurve


@dataclass(frozen=True)
class Plot:
    """A plot area in SVG units, y downwards."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis."""

    at: float
    label: str


@dataclass(frozen=True)
class Axis:
    """Maps values to SVG coordinates."""

    low: float
    high: float
    start: float
    end: float
    is_logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Return the coordinate of a value to a tenth of a unit, within the ends."""
        share = (self._scale(value) - self._scale(self.low)) / (
            (self._scale(self.high) - self._scale(self.low)) or 1.0
        )
        return round(self.start + min(max(share, 0.0), 1.0) * (self.end - self.start), 1)

    def ticks(self, most: int) -> tuple[Tick, ...]:
        """Return round values on the axis, at most `most` and about as many."""
        find = _round_powers if self.is_logarithmic else _round_values
        return tuple(Tick(self(v), format_number(v)) for v in find(self.low, self.high, most))

    def _scale(self, value: float) -> float:
        return math.log(max(value, 1e-12)) if self.is_logarithmic else value


@dataclass(frozen=True)
class Bar:
    """One bin: two stacked rectangles from the base line."""

    x: float
    width: float
    kept_y: float
    kept_height: float
    dropped_y: float
    dropped_height: float
    text: str


@dataclass(frozen=True)
class Marker:
    """A threshold in a chart."""

    x: float
    label: str
    anchor: str
    """Which end of the label stands at the line, so that it stays inside."""


@dataclass(frozen=True)
class Histogram:
    """A distribution, ready to draw."""

    plot: Plot
    distribution: Distribution
    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    markers: tuple[Marker, ...]
    peak: Marker
    """How many pairs the highest bar holds, at the end that is further from the thresholds."""
    summary: str
    """What the chart shows, for those who do not see it."""


@dataclass(frozen=True)
class LineChart:
    """A curve, ready to draw."""

    plot: Plot
    line: str
    """SVG path."""
    area: str
    ticks_x: tuple[Tick, ...]
    ticks_y: tuple[Tick, ...]
    markers: tuple[Marker, ...] = ()
    places: tuple[tuple[float, float], ...] = ()
    """Coordinates of the curve's values, where the page moves a cursor over them."""


_SMALL = Plot(width=320, height=150, left=6, right=314, top=24, bottom=124)
_WIDE = Plot(width=480, height=230, left=44, right=468, top=26, bottom=194)


def draw_histogram(distribution: Distribution) -> Histogram:
    """Return the chart of a distribution."""
    plot, edges = _SMALL, distribution.edges
    x = Axis(edges[0], edges[-1], plot.left, plot.right, distribution.is_logarithmic)
    counts = list(zip(distribution.num_kept, distribution.num_dropped, strict=True))
    most = max(1, *map(sum, counts))
    y = Axis(0, most, 0, plot.bottom - plot.top)
    bars = []
    for index, (kept, dropped) in enumerate(counts):
        left, right = x(edges[index]), x(edges[index + 1])
        # Dropped ones are stacked on kept ones, from the difference of two rounded places: no gap
        # between.
        kept_px, dropped_px = y(kept), y(kept + dropped) - y(kept)
        span = f"{format_number(edges[index])} to {format_number(edges[index + 1])}"
        bars.append(
            Bar(
                x=round(left + 0.5, 1),
                width=round(max(right - left - 1, 0.5), 1),
                kept_y=round(plot.bottom - kept_px, 1),
                kept_height=kept_px,
                dropped_y=round(plot.bottom - kept_px - dropped_px, 1),
                dropped_height=round(dropped_px, 1),
                text=f"{span}: {kept} kept, {dropped} dropped",
            )
        )
    markers = _markers(distribution.in_force, x, plot)
    return Histogram(
        plot,
        distribution,
        tuple(bars),
        x.ticks(5),
        markers,
        _peak(most, markers, plot),
        _describe(distribution),
    )


def draw_survival(curve: SurvivalCurve, num_scored: int) -> LineChart:
    """Return the chart of a survival curve as steps; y runs to all scored pairs."""
    plot, bounds = _WIDE, curve.bounds
    is_logarithmic = curve.filter.is_logarithmic and bounds[0] > 0
    low, high = bounds[0], bounds[-1] if bounds[-1] > bounds[0] else bounds[0] + 1
    x = Axis(low, high, plot.left, plot.right, is_logarithmic)
    y = Axis(0, max(1, num_scored), plot.bottom, plot.top)
    points = [(x(b), y(n)) for b, n in zip(bounds, curve.num_kept, strict=True)]
    line = _steps(points, is_falling=curve.filter.is_minimum)
    area = f"{line}V{plot.bottom}H{points[0][0]}Z"
    markers = _markers(curve.in_force, x, plot)
    return LineChart(plot, line, area, x.ticks(6), y.ticks(4), markers, tuple(points))


def draw_schedule(curve: ScheduleCurve) -> LineChart:
    """Return the chart of beta; sigma falls from left to right, as time goes."""
    plot = _WIDE
    x = Axis(0, 1, plot.right, plot.left)
    y = Axis(0, 1, plot.bottom, plot.top)
    points = [(x(s), y(b)) for s, b in zip(curve.sigmas, curve.betas, strict=True)]
    line = _path(points)
    area = f"{line}V{plot.bottom}H{points[0][0]}Z"
    return LineChart(plot, line, area, x.ticks(6), y.ticks(3))


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Return straight lines through points; those on a level stretch are left out."""
    inner = range(1, len(points) - 1)
    turns = [i for i in inner if not points[i - 1][1] == points[i][1] == points[i + 1][1]]
    shown = [points[i] for i in (0, *turns, len(points) - 1)]
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in shown)


def _steps(points: Sequence[tuple[float, float]], *, is_falling: bool) -> str:
    """Return the steps of a count: a minimum drops pairs right after their value."""
    path = f"M{points[0][0]:g} {points[0][1]:g}"
    for x, y in points[1:]:
        path += f"V{y:g}H{x:g}" if is_falling else f"H{x:g}V{y:g}"
    return path


def _markers(bounds: Sequence[float], x: Axis, plot: Plot) -> tuple[Marker, ...]:
    middle = (plot.left + plot.right) / 2
    return tuple(
        Marker(x(bound), format_number(bound), "start" if x(bound) < middle else "end")
        for bound in bounds
    )


def _peak(most: int, markers: Sequence[Marker], plot: Plot) -> Marker:
    label = f"{most:,} {'pair' if most == 1 else 'pairs'}"
    if any(marker.anchor == "start" for marker in markers):
        return Marker(plot.right, label, "end")
    return Marker(plot.left, label, "start")


def _describe(distribution: Distribution) -> str:
    bounds = ", ".join(format_number(bound) for bound in distribution.in_force)
    return (
        f"{distribution.metric.title}: {sum(distribution.num_kept)} kept and "
        f"{sum(distribution.num_dropped)} dropped pairs between "
        f"{format_number(distribution.edges[0])} and {format_number(distribution.edges[-1])}, "
        f"median {format_number(distribution.median)}"
        + (f"; threshold at {bounds}" if bounds else "")
    )


def _round_values(low: float, high: float, most: int) -> list[float]:
    """Return multiples of 1, 2 or 5 times a power of ten inside a range."""
    raw = (high - low) / most
    if raw <= 0:
        return [low]
    power = 10 ** math.floor(math.log10(raw))
    # A step that is too small by rounding alone will do.
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _round_powers(low: float, high: float, most: int) -> list[float]:
    """Return powers of ten inside a range, thinned out."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    powers = [10.0**exponent for exponent in range(first, last + 1)]
    return powers[:: max(1, -(-len(powers) // most))] or [low, high]
