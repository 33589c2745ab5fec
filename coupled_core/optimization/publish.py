"""Writes what a search found: the schedule file with its report, and the picture beside it."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from coupled_core.optimization.finals import Finalist
from coupled_core.optimization.fit_report import FitReport
from coupled_core.optimization.plots import draw_search
from coupled_core.optimization.schedule_search import FoundSchedule
from coupled_core.optimization.settings import OptimizeSettings
from coupled_core.schedules.schedule import Schedule
from coupled_core.schedules.schedule_file import save_schedule

_WITHOUT_EFFECT: dict[str, Any] = {
    "output": True,
    "workers": True,
    "run": {
        "output": True,
        "split": {"prices"},
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


def publish_schedule(
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
