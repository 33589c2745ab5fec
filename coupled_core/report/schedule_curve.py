"""The schedule that made a dataset's images, as a curve of beta over sigma.

The formulas are those of `schedules.families`, here on plain numbers: a report is written without
loading a tensor library.
"""

import json
import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from coupled_core.config import fingerprint
from coupled_core.dataset.snapshot import RunInfo

_NUM_POINTS = 401
_SHIPPED_FOLDER = Path(__file__).parent.parent / "schedules" / "shipped"


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
    files = [Path(name) for name in named if name] + sorted(_SHIPPED_FOLDER.glob("*.json"))
    known: dict[str, dict[str, Any]] = {}
    for file in files:
        content = _read(file)
        if content is not None:
            known.setdefault(content.pop("id"), content)
    return [_curve(schedule_id, known.get(schedule_id)) for schedule_id in schedule_ids]


def evaluate(family: str, parameters: Mapping[str, Any], sigma: float) -> float | None:
    """Return beta at a noise level; None for a family that is not known here."""
    formula = _FORMULAS.get(family)
    return None if formula is None else formula(1.0 - sigma, **parameters)


def _read(file: Path) -> dict[str, Any] | None:
    try:
        content: Any = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict):
        return None
    said = {name: value for name, value in content.items() if name != "id"}
    return content if content.get("id") == fingerprint(said) else None


def _curve(schedule_id: str, content: dict[str, Any] | None) -> ScheduleCurve:
    facts = dict(content or {})
    family, parameters = facts.get("family", ""), facts.get("parameters", {})
    sigmas = tuple(1 - index / (_NUM_POINTS - 1) for index in range(_NUM_POINTS))
    betas = [evaluate(family, parameters, sigma) for sigma in sigmas]
    if None in betas:
        return ScheduleCurve(schedule_id, (), (), facts)
    return ScheduleCurve(schedule_id, sigmas, tuple(b for b in betas if b is not None), facts)


def _step(t: float, *, center: float) -> float:
    return 1.0 if t >= center else 0.0


def _arctan(t: float, *, center: float, slope: float) -> float:
    return 0.5 + math.atan(slope * (t - center)) / math.pi


def _sine(t: float, *, center: float, width: float) -> float:
    phase = min(max((t - center) / width, -0.5), 0.5)
    return 0.5 * (1.0 + math.sin(math.pi * phase))


def _isotonic(t: float, *, times: Sequence[float], values: Sequence[float]) -> float:
    left = min(max(bisect_right(times, t), 1), len(times) - 1) - 1
    (start, end), (low, high) = list(pairwise(times))[left], list(pairwise(values))[left]
    fraction = min(max((t - start) / (end - start), 0.0), 1.0)
    return float(low + (high - low) * fraction)


_FORMULAS: Mapping[str, Callable[..., float]] = {
    "step": _step,
    "arctan": _arctan,
    "sine": _sine,
    "isotonic": _isotonic,
}
