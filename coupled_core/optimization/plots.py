"""The picture beside a schedule file: the curve that was found, and how it was found."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from coupled_core.optimization.schedule_search import FoundSchedule
from coupled_core.schedules.schedule import Schedule

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
