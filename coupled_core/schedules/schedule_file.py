"""Schedule files: JSON that carries its own content hash."""

import json
from pathlib import Path
from typing import Any

from coupled_core.documents import parse_json, read_file
from coupled_core.errors import ScheduleError
from coupled_core.records import CouplingMode
from coupled_core.schedules.schedule import RegionSettings, Schedule

SHIPPED_FOLDER = Path(__file__).parent / "shipped"

_TYPES: dict[str, tuple[type, ...]] = {
    "family": (str,),
    "parameters": (dict,),
    "mode": (str,),
    "base_model": (str,),
    "base_model_revision": (str, type(None)),
    "optimised": (bool,),
    "note": (str,),
    "num_inference_steps": (int, type(None)),
    "shift": (int, float, type(None)),
}

_OPTIONAL_TYPES: dict[str, tuple[type, ...]] = {"region": (dict,), "fit": (dict,)}
"""Fields that a file may leave out; older files know nothing of them."""


def save_schedule(schedule: Schedule, path: Path) -> None:
    """Write a schedule with its id."""
    content = {"id": schedule.id, **schedule.to_dict()}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def load_schedule(path: Path) -> Schedule:
    """Read a schedule and verify its id.

    Raises:
        ScheduleError: the file is missing, is not a schedule, or was changed after its id was
        computed.
    """
    content = _read_json(path)
    stated = content.pop("id", None)
    _check_fields(path, content)
    content["parameters"] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in content["parameters"].items()
    }
    try:
        if "region" in content:
            content["region"] = RegionSettings(**{"matte": 0.0, **content["region"]})
        schedule = Schedule(**content)
    except (ScheduleError, TypeError) as exc:
        raise ScheduleError(f"{path}: {exc}") from exc
    # The id goes into pair ids: a file that was edited must not pass for the old one.
    if stated != schedule.id:
        raise ScheduleError(
            f"{path}: the content does not match the id: expected {schedule.id}, got {stated}. "
            "A schedule that was changed needs a new id: write it with save_schedule."
        )
    return schedule


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(read_file(path))
    except OSError as exc:
        raise ScheduleError(f"{path}: the schedule file cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise ScheduleError(f"{path}: expected JSON; {exc}") from exc
    if not isinstance(content, dict):
        raise ScheduleError(f"{path}: expected a JSON object; got {type(content).__name__}")
    return content


def _check_fields(path: Path, content: dict[str, Any]) -> None:
    missing = sorted(set(_TYPES) - set(content))
    unknown = sorted(set(content) - set(_TYPES) - set(_OPTIONAL_TYPES))
    if missing or unknown:
        raise ScheduleError(f"{path}: missing fields {missing}, unknown fields {unknown}")
    for name, value in content.items():
        types = _TYPES.get(name) or _OPTIONAL_TYPES[name]
        # bool is an int to isinstance; a step count of `true` is still wrong.
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            expected = " or ".join("null" if t is type(None) else t.__name__ for t in types)
            raise ScheduleError(f"{path}: {name} expects {expected}; got {value!r}")


def load_shipped_schedule(name: str, mode: CouplingMode, folder: Path = SHIPPED_FOLDER) -> Schedule:
    """Return the schedule shipped for a model.

    Args:
        name: miniature, flux-dev or flux-schnell; or what another package calls its own.
        mode: log_bias, key_scale or region.
        folder: where it lies.

    Raises:
        ScheduleError: none is shipped for this model in this mode.
    """
    path = folder / f"{name}-{mode.replace('_', '-')}.json"
    if not path.is_file():
        available = sorted(p.stem for p in folder.glob("*.json"))
        raise ScheduleError(
            f"no schedule is shipped for {name} in mode {mode}; there are {', '.join(available)}. "
            "Name a schedule file, or use another coupling mode."
        )
    return load_schedule(path)
