"""Writes what a search found: the schedule file with its report, and the picture beside it."""

import os
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from coupled_core.research.optimization.judgement import Finalist, FitReport
from coupled_core.research.optimization.schedule_search import FoundSchedule
from coupled_core.research.optimization.settings import OptimizeSettings
from coupled_core.schedules.schedule import Schedule
from coupled_core.schedules.schedule_file import save_schedule

_NUM_POINTS = 2001
_FOUND, _OTHER, _CANDIDATE = "#1f6feb", "#8b949e", "#e3893b"


def draw_search(found: FoundSchedule, against: Schedule | None) -> bytes:
    """Return a PNG: beta over the noise level on the left, J over evaluations on the right."""
    # A figure with a canvas of its own touches none of pyplot's global state.
    figure = Figure(figsize=(11.0, 4.2), dpi=100, layout="constrained")
    curve, course = figure.subplots(1, 2)
    _draw_curve(curve, found.best, against)
    _draw_course(course, found)
    buffer = BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _draw_curve(axes: Axes, found: Schedule, against: Schedule | None) -> None:
    sigma = torch.linspace(1.0, 0.0, _NUM_POINTS, dtype=torch.float64)
    if against is not None:
        axes.plot(sigma, against.beta(sigma), color=_OTHER, ls="--", label="before")
    axes.plot(sigma, found.beta(sigma), color=_FOUND, lw=2, label=f"found ({found.family})")
    if found.family == "isotonic":
        times = np.asarray(found.parameters["times"])
        axes.plot(1.0 - times, np.asarray(found.parameters["values"]), "o", color=_FOUND, ms=4)
    axes.set(
        title=f"{found.mode} on {found.base_model}",
        xlabel="noise level sigma (denoising goes right)",
        ylabel="beta (0 background, 1 entity)",
        xlim=(1.0, 0.0),
        ylim=(-0.03, 1.03),
    )
    axes.grid(alpha=0.3)
    axes.legend()


def _draw_course(axes: Axes, found: FoundSchedule) -> None:
    objectives = [e.objective for stage in found.stages for e in stage.history]
    numbers = np.arange(1, len(objectives) + 1)
    axes.plot(numbers, objectives, "o", color=_CANDIDATE, ms=4, label="candidate")
    best = np.maximum.accumulate(objectives)
    axes.step(numbers, best, where="post", color=_FOUND, lw=2, label="best so far")
    _mark_stages(axes, [(stage.name, len(stage.history)) for stage in found.stages])
    axes.set(
        title=f"best J {found.best_objective:.3f} on training groups",
        xlabel="evaluations",
        ylabel="J (guarded pairs at the floor)",
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="center right")


def _mark_stages(axes: Axes, stages: Sequence[tuple[str, int]]) -> None:
    start = 0
    for name, length in stages:
        if start:
            axes.axvline(start + 0.5, color=_OTHER, ls=":")
        axes.annotate(
            name, (start + 0.6, 0.98), xycoords=("data", "axes fraction"), va="top", fontsize=9
        )
        start += length


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


def describe_fit(
    found: FoundSchedule,
    finalists: Sequence[Finalist],
    report: FitReport,
    settings: OptimizeSettings,
) -> dict[str, Any]:
    """Return the `fit` object of a schedule file; the same search always gives the same one."""
    stages = [
        {
            "name": stage.name,
            "best_objective": stage.best_objective,
            "best_knobs": dict(stage.best_knobs),
            "objectives": [round(evaluation.objective, 6) for evaluation in stage.history],
        }
        for stage in found.stages
    ]
    return {
        **report.to_dict(),
        "stages": stages,
        "finalists": [finalist.to_dict() for finalist in finalists],
        "settings": settings.model_dump(mode="json", exclude=_WITHOUT_EFFECT),
    }


def finish_schedule(
    found: FoundSchedule,
    finalists: Sequence[Finalist],
    report: FitReport,
    settings: OptimizeSettings,
) -> Schedule:
    """Return the schedule to be written, which says how it came about."""
    num_evaluations = sum(len(stage.history) for stage in found.stages)
    finals = f", then the best of {len(finalists)} on other noise" if finalists else ""
    note = (
        f"Found by CMA-ES: {' then '.join(stage.name for stage in found.stages)}, "
        f"{num_evaluations} evaluations on {report.train.objective.count} training groups{finals}; "
        f"validated on {report.validation.objective.count} others."
    )
    return replace(found.best, note=note, fit=describe_fit(found, finalists, report, settings))


def write_schedule(
    schedule: Schedule, found: FoundSchedule, against: Schedule | None, output: Path
) -> Path:
    """Write schedule and picture, each whole or not at all; return the picture's path."""
    picture = output.with_suffix(".png")
    output.parent.mkdir(parents=True, exist_ok=True)
    drawn, written = (path.with_name(f".{path.name}.{os.getpid()}") for path in (picture, output))
    drawn.write_bytes(draw_search(found, against))
    drawn.replace(picture)
    save_schedule(schedule, written)
    written.replace(output)
    return picture
