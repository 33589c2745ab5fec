"""The schedule that made a dataset's images, as a curve of beta over sigma."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from coupled_core.dataset.snapshot import RunInfo
from coupled_core.errors import ScheduleError
from coupled_core.schedules.schedule import Schedule
from coupled_core.schedules.schedule_file import SHIPPED_FOLDER, load_schedule

_NUM_POINTS = 401


@dataclass(frozen=True)
class ScheduleCurve:
    """What is known about a schedule."""

    schedule_id: str
    sigmas: tuple[float, ...]
    """Noise levels, falling from 1 (noise) to 0 (image); empty where the file is not at hand."""
    betas: tuple[float, ...]
    """Weight of the entity text at each of them, [0, 1]."""
    facts: Mapping[str, Any]
    """The other fields of its file."""


def find_schedules(schedule_ids: Sequence[str], runs: Sequence[RunInfo]) -> list[ScheduleCurve]:
    """Return the curve of each schedule whose file still says the same.

    Args:
        schedule_ids: As they stand in the manifest.
        runs: Their settings name schedule files; the shipped ones are looked at, too.
    """
    named = [run.config.get("generation", {}).get("schedule") for run in runs]
    known: dict[str, Schedule] = {}
    for path in [Path(name) for name in named if name] + sorted(SHIPPED_FOLDER.glob("*.json")):
        try:
            schedule = load_schedule(path)
        except ScheduleError:  # a file that was moved or changed since: the report says less
            continue
        known.setdefault(schedule.id, schedule)
    return [_trace(schedule_id, known.get(schedule_id)) for schedule_id in schedule_ids]


def _trace(schedule_id: str, schedule: Schedule | None) -> ScheduleCurve:
    if schedule is None:
        return ScheduleCurve(schedule_id, (), (), {})
    sigmas = np.linspace(1.0, 0.0, _NUM_POINTS)
    betas = schedule.beta(sigmas)
    return ScheduleCurve(
        schedule_id, tuple(sigmas.tolist()), tuple(betas.tolist()), schedule.to_dict()
    )
