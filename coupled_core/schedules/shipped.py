"""The schedules that come with the package, by model and mode."""

from pathlib import Path

from coupled_core.config import CouplingMode
from coupled_core.errors import ScheduleError
from coupled_core.schedules.schedule import Schedule
from coupled_core.schedules.schedule_file import load_schedule

SHIPPED_FOLDER = Path(__file__).parent / "shipped"


def load_shipped_schedule(name: str, mode: CouplingMode) -> Schedule:
    """Return the schedule shipped for a model.

    Args:
        name: miniature, flux-dev or flux-schnell.
        mode: log_bias, key_scale or region.

    Raises:
        ScheduleError: none is shipped for this model in this mode.
    """
    path = SHIPPED_FOLDER / f"{name}-{mode.replace('_', '-')}.json"
    if not path.is_file():
        available = sorted(p.stem for p in SHIPPED_FOLDER.glob("*.json"))
        raise ScheduleError(
            f"no schedule is shipped for {name} in mode {mode}; there are {', '.join(available)}. "
            "Name a schedule file, or use another coupling mode."
        )
    return load_schedule(path)
