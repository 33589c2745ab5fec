"""Models that go together, by one name, and how settings from several places become a run's.

A form has a value in every field, whether or not somebody touched it. So what counts is not who
gave a value but whether it differs from the default: a default leaves the word to the next place.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel

from coupled_core.config import RunConfig, RunSettings

Profile = Literal["miniature", "flux-schnell", "flux-dev"]
_PHOTOGRAPHIC_JUDGES = {
    "sam_model": "vit_h:sam_vit_h_4b8939.pth",
    "clip_model": "ViT-L-14:openai",
}
PROFILES: Mapping[Profile, Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "miniature": {},
        "flux-schnell": {
            "generation": {"base_model": "black-forest-labs/FLUX.1-schnell"},
            "scoring": _PHOTOGRAPHIC_JUDGES,
        },
        "flux-dev": {
            "generation": {"base_model": "black-forest-labs/FLUX.1-dev"},
            "scoring": _PHOTOGRAPHIC_JUDGES,
        },
    }
)
"""Settings by section that a profile puts in the place of the defaults."""


def layer_settings(profile: Profile, config: RunSettings, given: Mapping[str, Any]) -> RunConfig:
    """Return the settings of a run: those given one by one win over `config`, that over a profile.

    Args:
        profile: Which models go together.
        config: All settings; what equals its default says nothing.
        given: Values by section and name, `generation.seed`; likewise.

    Raises:
        ValidationError: a value is not allowed.
    """
    layers = {section: dict(values) for section, values in PROFILES[profile].items()}
    for section, values in _differing(config).items():
        layers.setdefault(section, {}).update(values)
    defaults = RunSettings()
    for key, value in given.items():
        section, _, name = key.partition(".")
        if _as_plain(value) != _as_plain(getattr(getattr(defaults, section), name)):
            layers.setdefault(section, {})[name] = value
    return RunConfig.model_validate(layers)


def _differing(config: RunSettings) -> dict[str, dict[str, Any]]:
    """Return the values that are not the defaults, by section and name."""
    # Not of dumps: they leave out some settings that have their default.
    defaults = RunSettings()
    return {
        section: {
            name: value
            for name, value in values
            if value != getattr(getattr(defaults, section), name)
        }
        for section, values in config
    }


def _as_plain(value: Any) -> Any:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return value[0] if len(value) == 1 else tuple(value)  # a list of one names the one
    return value.model_dump() if isinstance(value, BaseModel) else value
