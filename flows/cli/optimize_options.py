"""From the options of `coupled optimize` to its checked settings."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from coupled_core.errors import ConfigError
from coupled_core.research.optimization.settings import OptimizeSettings
from flows.cli.options import read_config

_NOT_OF_THE_RUN = ("output",)
"""Options whose names mean something else to a build."""


def read_settings(options: Mapping[str, Any]) -> OptimizeSettings:
    """Return the settings that options, by name, stand for.

    Raises:
        ConfigError: an option, or the file that it names, has a wrong value.
    """
    shared = {name: value for name, value in options.items() if name not in _NOT_OF_THE_RUN}
    run = read_config(options["config"], shared)
    against = options["against"]
    try:
        return OptimizeSettings(
            run=run,
            output=str(options["output"]),
            family=options["family"],
            mode=options["mode"],
            budget=options["budget"],
            num_groups=options["groups"],
            num_knots=options["knots"],
            num_finalists=options["finalists"],
            num_final_noises=options["final_noises"],
            against=str(against) if against is not None else None,
            check_steps=_parse_steps(options["check_steps"]),
            workers=options["workers"],
        )
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise ConfigError(f"{where}: {problem['msg']} (got {problem['input']!r})") from error


def _parse_steps(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        steps = tuple(int(part) for part in parts)
    except ValueError as error:
        raise ConfigError(
            f"--check-steps expects whole numbers with commas, such as 20,28,50; got {text!r}"
        ) from error
    if any(step < 1 for step in steps):
        raise ConfigError(f"--check-steps expects numbers above 0; got {text!r}")
    return tuple(dict.fromkeys(steps))
