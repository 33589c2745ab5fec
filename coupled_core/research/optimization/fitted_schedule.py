"""Writes what a race found: report, picture, and the schedule file if there is a winner."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from coupled_core.research.evaluation.intervals import Interval
from coupled_core.research.optimization.judgement import MEASURES
from coupled_core.research.optimization.racing import RaceResult
from coupled_core.research.optimization.settings import OptimizeSettings
from coupled_core.schedules.schedule_file import save_schedule

_NUM_POINTS = 2001
_LEFT, _OUT, _FINAL = "#1f6feb", "#8b949e", "#e3893b"


def draw_race(result: RaceResult) -> bytes:
    """Return a PNG: beta over the noise level on the left, gains over the rounds on the right."""
    # A figure with a canvas of its own touches none of pyplot's global state.
    figure = Figure(figsize=(11.0, 4.2), dpi=100, layout="constrained")
    curve, course = figure.subplots(1, 2)
    _draw_curves(curve, result)
    _draw_course(course, result)
    buffer = BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_curves(axes: Axes, result: RaceResult) -> None:
    sigma = torch.linspace(1.0, 0.0, _NUM_POINTS, dtype=torch.float64)
    for each in result.finals:
        axes.plot(sigma, each.schedule.beta(sigma), color=_FINAL, lw=1)
    axes.plot(sigma, result.before.beta(sigma), color=_OUT, ls="--", label="before")
    if result.winner is not None:
        axes.plot(sigma, result.winner.beta(sigma), color=_LEFT, lw=2, label="winner")
    axes.set(
        title=f"{result.before.mode} on {result.before.base_model}",
        xlabel="noise level sigma (denoising goes right)",
        ylabel="beta (0 background, 1 entity)",
        xlim=(1.0, 0.0),
        ylim=(-0.03, 1.03),
    )
    axes.grid(alpha=0.3)
    axes.legend()


def _draw_course(axes: Axes, result: RaceResult) -> None:
    """Draw each candidate's gain with its interval; rounds stand side by side."""
    ticks = []
    for place, each in enumerate(result.rounds):
        ticks.append(f"round {place + 1}\n{each.num_groups} groups")
        for number, standing in enumerate(each.standings):
            color = _LEFT if number < each.num_left else _OUT
            offset = 0.8 * (number + 1) / (len(each.standings) + 1) - 0.4
            _draw_gain(axes, place + offset, standing.differences[result.objective], color)
    if result.finals:
        ticks.append("finals\nother groups")
        for number, standing in enumerate(result.finals):
            offset = 0.8 * (number + 1) / (len(result.finals) + 1) - 0.4
            at = len(result.rounds) + offset
            _draw_gain(axes, at, standing.differences[result.objective], _FINAL)
    axes.axhline(0.0, color="black", lw=0.8)
    axes.set_xticks(range(len(ticks)), ticks)
    axes.set(
        title=f"{MEASURES[result.objective].title}: candidate less the schedule before",
        ylabel="mean and 95 % interval (blue goes on)",
    )
    axes.grid(alpha=0.3, axis="y")


def _draw_gain(axes: Axes, place: float, gain: Interval, color: str) -> None:
    # One interval may reach beyond the bootstrap mean's own rounding; lengths are not negative.
    lengths = [[max(0.0, gain.mean - gain.low)], [max(0.0, gain.high - gain.mean)]]
    axes.errorbar([place], [gain.mean], yerr=lengths, fmt="o", ms=3, color=color, lw=1)


_WITHOUT_EFFECT: dict[str, Any] = {
    "output": True,
    "workers": True,
    "run": {
        "output": True,
        "split": {"prices", "no_cap"},
        "generation": {"device", "offload", "batch_size", "schedule", "coupling_mode"},
    },
}
"""Settings that say nothing about what was found."""


def describe_fit(result: RaceResult, settings: OptimizeSettings) -> dict[str, Any]:
    """Return the report: what was raced, how it went; the same race always gives the same one."""
    return {
        **result.to_dict(),
        "settings": settings.model_dump(mode="json", exclude=_WITHOUT_EFFECT),
    }


@dataclass(frozen=True)
class WrittenFiles:
    """Where the outcome of a race lies."""

    report: Path
    picture: Path
    schedule: Path | None
    """None: nothing better was found, and no schedule was written."""


def write_outcome(result: RaceResult, settings: OptimizeSettings) -> WrittenFiles:
    """Write report and picture, and the winner's schedule file; each whole or not at all."""
    output = Path(settings.output)
    fit = describe_fit(result, settings)
    report = output.with_suffix(".report.json")
    text = json.dumps(fit, indent=2) + "\n"
    _write_whole(report, lambda path: path.write_text(text, encoding="utf-8"))
    picture = output.with_suffix(".png")
    _write_whole(picture, lambda path: path.write_bytes(draw_race(result)))
    if result.winner is None:
        return WrittenFiles(report, picture, None)
    schedule = replace(result.winner, note=_describe_winner(result), fit=fit)
    _write_whole(output, lambda path: save_schedule(schedule, path))
    return WrittenFiles(report, picture, output)


def _describe_winner(result: RaceResult) -> str:
    gain = next(
        each.differences[result.objective]
        for each in result.finals
        if each.schedule == result.winner
    )
    return (
        f"Won a race of {len(result.rounds[0].standings) if result.rounds else 1} candidates; on "
        f"{gain.count} groups that were not raced on, {MEASURES[result.objective].title} differs "
        f"from the schedule before by {gain.mean:+.3f} [{gain.low:.3f}, {gain.high:.3f}]."
    )


def _write_whole(path: Path, write: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_name(f".{path.name}.{os.getpid()}")
    write(written)
    written.replace(path)
