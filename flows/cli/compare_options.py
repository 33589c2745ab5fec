"""From the options of `coupled compare` to the settings of a comparison."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from coupled_core.errors import ConfigError
from coupled_core.research.comparison.settings import OURS, CompareSettings
from coupled_core.research.methods.registry import list_methods
from flows.cli.options import read_config

_FIELDS = {
    "groups": "num_groups",
    "train_prompts": "train_prompts",
    "train_groups": "num_train_groups",
    "sweep_budget": "sweep_budget",
    "trade_off": "trade_off",
    "trade_off_points": "num_trade_off_points",
    "ablations": "ablations",
    "extra_groups": "num_extra_groups",
    "picture_rows": "num_picture_rows",
    "chunk_size": "chunk_size",
}
"""Option -> field."""


def read_settings(given: Mapping[str, Any]) -> CompareSettings:
    """Return the settings that options, and perhaps a file of a run's settings, ask for.

    Raises:
        ConfigError: an unknown method, or a setting that has no or a wrong meaning.
    """
    prompts = given["prompts"] or (None if given["config"] else "miniature-test")
    options = {**given, "prompts": prompts, "output": None}
    values = {field: given[name] for name, field in _FIELDS.items() if given[name] is not None}
    try:
        return CompareSettings(
            run=read_config(given["config"], options),
            methods=read_methods(given["methods"]),
            output=str(given["output"]),
            **values,
        )
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise ConfigError(f"{where}: {problem['msg']} (got {problem['input']!r})") from error


def read_methods(text: str | None) -> tuple[str, ...]:
    """Return the methods that a list with commas names, ours first; None: all there are.

    Raises:
        ConfigError: one of them does not exist.
    """
    known = list_methods()
    wanted = known if text is None else [name.strip() for name in text.split(",")]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ConfigError(
            f"unknown method {', '.join(map(repr, unknown))}; expected some of {', '.join(known)}"
        )
    return tuple(dict.fromkeys((OURS, *wanted)))
