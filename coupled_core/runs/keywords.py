"""Settings by their bare names, as calls from Python give them: `seed=7, min_combined=4.5`."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from coupled_core.config import RunConfig
from coupled_core.errors import ConfigError
from coupled_core.suggestions import suggest

_MEANT = {"dtype": "generation"}
"""Whose a name is that several sections have, as on the command line. Of those not listed, callers
say it."""


def config_from_keywords(settings: Mapping[str, Any]) -> RunConfig:
    """Return the settings of a run; what is not named has its default.

    Args:
        settings: Any setting by its bare name (`seed`), or a section as a whole
            (`filter=FilterConfig(...)`, `generation={"batch_size": 2}`). Only the latter can tell
            apart what two sections have, such as `batch_size`; `dtype` is the base model's.

    Raises:
        ConfigError: a name is unknown or stands for several settings, or a value is not allowed.
    """
    sections: dict[str, dict[str, Any]] = {}
    for name, value in settings.items():
        if name in RunConfig.model_fields:
            sections.setdefault(name, {}).update(_given(name, value))
        else:
            sections.setdefault(_section_of(name), {})[name] = value
    try:
        return RunConfig.model_validate(sections)
    except ValidationError as error:
        problems = [
            f"{'.'.join(map(str, each['loc']))}: {each['msg']} (got {each['input']!r})"
            for each in error.errors()
        ]
        raise ConfigError("; ".join(problems)) from error


def _section_of(name: str) -> str:
    fields = {section: _fields(section) for section in RunConfig.model_fields}
    found = [section for section, names in fields.items() if name in names]
    if name in _MEANT:
        return _MEANT[name]
    if len(found) == 1:
        return found[0]
    if found:
        choices = " or ".join(f"{section}={{{name!r}: ...}}" for section in found)
        raise ConfigError(f"{name} is a setting of {' and of '.join(found)}: write {choices}")
    known = [*fields, *(each for names in fields.values() for each in names)]
    hint = suggest(name, known).removeprefix("; ")
    hint = hint or f"expected one of {', '.join(sorted(known))}"
    raise ConfigError(f"there is no setting {name!r}: {hint}")


def _fields(section: str) -> Mapping[str, Any]:
    model = RunConfig.model_fields[section].annotation
    assert isinstance(model, type) and issubclass(model, BaseModel)  # every section is one
    return model.model_fields


def _given(name: str, section: Any) -> dict[str, Any]:
    if isinstance(section, BaseModel):  # what was left out may still follow from other settings
        return {field: getattr(section, field) for field in section.model_fields_set}
    if isinstance(section, Mapping):
        return dict(section)
    raise ConfigError(f"{name} is a section of settings: expected a mapping, got {section!r}")
