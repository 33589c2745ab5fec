"""From the options of the command line, and a file of settings, to one checked `RunConfig`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from coupled_core.concepts import read_concepts
from coupled_core.config import RunConfig
from coupled_core.errors import ConfigError

_WHERE: Mapping[str, tuple[str, str]] = {
    "prompts": ("prompts", "uri"),
    "on_bad_row": ("prompts", "on_bad_row"),
    "splitter": ("split", "splitter"),
    "split_model": ("split", "model"),
    "split_transport": ("split", "transport"),
    "split_cache": ("split", "cache_uri"),
    "max_llm_usd": ("split", "max_llm_usd"),
    "refresh_split": ("split", "refresh"),
    "output": ("output", "uri"),
    "shard_size": ("output", "shard_size"),
    "single_writer": ("output", "single_writer"),
    "store_dropped": ("output", "store_dropped"),
    "base_model": ("generation", "base_model"),
    "revision": ("generation", "revision"),
    "schedule": ("generation", "schedule"),
    "coupling_mode": ("generation", "coupling_mode"),
    "entity_text": ("generation", "entity_text"),
    "seed": ("generation", "seed"),
    "steps": ("generation", "num_inference_steps"),
    "width": ("generation", "width"),
    "height": ("generation", "height"),
    "batch_size": ("generation", "batch_size"),
    "device": ("generation", "device"),
    "dtype": ("generation", "dtype"),
    "offload": ("generation", "offload"),
    "sam_model": ("scoring", "sam_model"),
    "clip_model": ("scoring", "clip_model"),
    "min_combined": ("filter", "min_combined"),
    "drop_duplicates": ("duplicates", "drop"),
    "attempts": ("selection", "attempts"),
    "quota": ("selection", "quota"),
    "early_stop": ("selection", "early_stop"),
}
"""Option -> stage and field of the config."""


def read_config(path: Path | None, options: Mapping[str, Any]) -> RunConfig:
    """Return the settings of a file, or the defaults, under the options that were given.

    Args:
        path: JSON; None: only defaults.
        options: By name of the option; None: not given. Others than settings are passed over.

    Raises:
        ConfigError: the file is unreadable, or a setting has no or a wrong meaning.
    """
    values = _read_file(path) if path is not None else {}
    if (concepts := options.get("content_filter")) is not None:
        chosen = None if concepts == "off" else read_concepts(Path(concepts))
        values["content_filter"] = {"concept_list": chosen}
    for option, (stage, name) in _WHERE.items():
        if options.get(option) is not None:
            values.setdefault(stage, {})[name] = options[option]
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_describe(error, path)) from error


def _read_file(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"cannot read --config {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"--config {path} is not JSON: {error}") from error
    if not isinstance(values, dict) or not all(isinstance(v, dict) for v in values.values()):
        raise ConfigError(
            f"--config {path}: expected an object of objects, such as "
            '{"generation": {"seed": 1}, "output": {"uri": "pairs"}}'
        )
    return values


def _describe(error: ValidationError, path: Path | None) -> str:
    problems = [
        f"{'.'.join(map(str, problem['loc']))}: {problem['msg']} (got {problem['input']!r})"
        for problem in error.errors()
    ]
    return "; ".join(problems) + (f" [settings from {path} and options]" if path else "")
