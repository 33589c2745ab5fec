"""Reads settings: options win over the environment, that over the file, that over the profile.

A setting of section `generation` is an option (`--seed 1`), a variable (`COUPLED_GENERATION__SEED`)
and a key of a TOML, YAML or JSON file. What is wrong is told with where it came from.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_origin

from pydantic import BaseModel, ValidationError

from coupled_core.config import RunConfig
from coupled_core.documents import parse_json, parse_toml, parse_yaml, read_file
from coupled_core.errors import ConfigError
from coupled_core.runs.profiles import PROFILES, Profile
from coupled_core.suggestions import suggest
from flows.cli.setting import Offer, find_model, list_settings, strip_none

_PREFIX = "COUPLED_"
_OF_ONE_COMMAND = ("optimize", "compare", "execution", "backfill")
"""Sections that few commands read, builds that on execution; the others pass over them."""

_MAX_FILE_BYTES = 1 << 20
"""A thousand times what all settings take; YAML is parsed slowly."""
_MAX_SHOWN_CHARS = 300
_PARSERS = {"TOML": parse_toml, "JSON": parse_json, "YAML": parse_yaml}

Model = TypeVar("Model", bound=BaseModel)
Option = str | bool | list[str] | None
KeyPath = tuple[str, ...]
Given = tuple[KeyPath, Any, str]
"""Section and name of a setting, its value, and where it was given, in words."""


def read_settings(
    model: type[Model],
    options: Mapping[str, Option],
    offer: Offer,
    file: Path | None = None,
    profile: Profile = "miniature",
) -> Model:
    """Return the settings that options, environment, file and profile ask for.

    Args:
        model: `RunConfig`, or a model with one in its field `run`, or any other.
        options: Values of the options by key, `generation.seed`; None: not given.
        offer: The section of the model's own fields; without one, other models than `RunConfig`
            are read from options alone.
        file: TOML, YAML or JSON.
        profile: Models that go together, where nothing else names them.

    Raises:
        ConfigError: the file is unreadable, or a setting has no or a wrong meaning.
    """
    given = [*_read_options(model, options, offer.section)]
    if model is RunConfig or offer.section:
        below = [*_read_profile(profile), *(_read_file(file) if file else ())]
        given = [*below, *_read_environment(), *given]
    values: dict[str, Any] = {}
    origins: dict[KeyPath, str] = {}
    # From the weakest source to the strongest: a later one overwrites a value together with its
    # origin.
    for key, value, origin in given:
        path = _find_place(model, key, offer.section)
        if path is not None:
            *above, name = path
            target = values
            for part in above:
                target = target.setdefault(part, {})
            target[name] = _parse(model, path, value, origin) if isinstance(value, str) else value
            origins[path] = origin
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = (_describe_problem(model, each, origins) for each in error.errors())
        raise ConfigError("; ".join(problems)) from error


def _find_place(model: type[BaseModel], key: KeyPath, section: str) -> KeyPath | None:
    """Return where a setting stands in a model; None: the model has no place for its section."""
    if section and key[0] == section:
        return key[1:]
    if key[0] in _OF_ONE_COMMAND:
        return None
    if "run" in model.model_fields:
        return "run", *key
    return None if section else key


def _read_options(
    model: type[BaseModel], options: Mapping[str, Option], section: str
) -> Iterator[Given]:
    for setting in list_settings(model, section):
        value = options.get(setting.key)
        if value is not None and value != []:
            name = setting.off_name if value is False else setting.option_names[0]
            yield tuple(setting.key.split(".")), value, name


def _read_profile(profile: Profile) -> Iterator[Given]:
    for section, values in PROFILES[profile].items():
        for name, value in values.items():
            yield (section, name), value, f"--profile {profile}"


def _read_environment() -> Iterator[Given]:
    for name, value in sorted(os.environ.items()):
        # Kubernetes names the address of a service COUPLED_PORT: only `__` marks a setting.
        section, mark, field = name.removeprefix(_PREFIX).lower().partition("__")
        if name.startswith(_PREFIX) and mark and value:
            yield (section, field), value, name


def _read_file(path: Path) -> Iterator[Given]:
    for section, values in _load(path).items():
        if not isinstance(values, Mapping):
            keys = [setting.key for setting in list_settings(RunConfig)]
            raise ConfigError(
                f"--config {path}: expected sections with settings, such as generation with seed; "
                f"got {section} = {_show(values)}{suggest(str(section), keys)}"
            )
        for name, value in values.items():
            yield (str(section), str(name)), value, f"--config {path}: {section}.{name}"


def _load(path: Path) -> Mapping[Any, Any]:
    """Parse a file by the end of its name: .toml, .json, anything else as YAML."""
    kind = {".toml": "TOML", ".json": "JSON"}.get(path.suffix.lower(), "YAML")
    try:
        values = _PARSERS[kind](read_file(path, _MAX_FILE_BYTES), _MAX_FILE_BYTES)
    except OSError as error:
        raise ConfigError(f"cannot read --config {path}: {error.strerror}") from error
    except ValueError as error:  # that text is not UTF-8, or is no such text
        raise ConfigError(f"--config {path} is not {kind}: {error}") from error
    if values is not None and not isinstance(values, Mapping):
        raise ConfigError(f"--config {path}: expected sections with settings, got {_show(values)}")
    return values or {}


def _parse(model: type[BaseModel], path: KeyPath, text: str, origin: str) -> Any:
    """Turn text into a list or table where the setting is one; pydantic reads the rest."""
    parent = find_model(model, path[:-1])
    field = parent.model_fields.get(path[-1]) if parent else None
    kind = get_origin(strip_none(field.annotation)) if field else None
    if kind is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    if kind is not Mapping:
        return text
    try:
        return parse_json(text)
    except ValueError as error:
        raise ConfigError(f"{origin}: expected a table as JSON, got {_show(text)}") from error


def _describe_problem(
    model: type[BaseModel], problem: Mapping[str, Any], origins: Mapping[KeyPath, str]
) -> str:
    """Say where a wrong value was given, what was expected and what it was."""
    path = tuple(part for part in problem["loc"] if isinstance(part, str))  # no places in lists
    where, got = _find_origin(path, origins), f"got {_show(problem['input'])}"
    if problem["type"] == "extra_forbidden":
        return f"{where}: there is no such setting, {got}{_suggest_setting(model, path)}"
    text = problem["msg"].removeprefix("Value error, ").partition(", unable to")[0]
    for bound in ("less", "greater"):
        text = text.replace(f"Input should be {bound}", f"expected a number {bound}")
    return f"{where}: {text.replace('Input should be', 'expected')}, {got}"


def _show(value: Any) -> str:
    """Return a value as a message can hold it."""
    shown = repr(value)
    return shown if len(shown) <= _MAX_SHOWN_CHARS else f"{shown[:_MAX_SHOWN_CHARS]}..."


def _find_origin(path: KeyPath, origins: Mapping[KeyPath, str]) -> str:
    """Return who gave a value, or something in it where the value is an unknown section."""
    for known, origin in origins.items():
        shared = min(len(known), len(path))
        if path and known[:shared] == path[:shared]:
            return ".".join([origin, *path[len(known) :]])
    return ".".join(path) or "settings"


def _suggest_setting(model: type[BaseModel], path: KeyPath) -> str:
    """Hint at a setting of that name in another section, or of a like name in this one or any."""
    *above, name = path
    parent, prefix = find_model(model, tuple(above)), [part for part in above if part != "run"]
    siblings = [".".join([*prefix, each]) for each in parent.model_fields] if parent else []
    keys = [setting.key for setting in list_settings(RunConfig)]
    same = [key for key in keys if key.rpartition(".")[2] == name]
    hints = (suggest(name, each) for each in (same, siblings, keys))
    return next(filter(None, hints), f"; expected one of {', '.join(siblings)}")
