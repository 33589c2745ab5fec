"""Base models that are known by name: their licence, defaults and schedules.

Other packages register a model by an entry point of `coupled_images.base_models` that gives a
`KnownModel`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from coupled_core.errors import ConfigError
from coupled_core.generation.families.spec import (
    FLUX_1,
    FLUX_2_DEV,
    QWEN_IMAGE,
    FamilySpec,
    Guidance,
)
from coupled_core.generation.licences import LICENCES, Licence, Training
from coupled_core.miniature import miniature_folder
from coupled_core.plugins import find_plugins
from coupled_core.records import CouplingMode
from coupled_core.schedules.schedule import Schedule
from coupled_core.schedules.schedule_file import SHIPPED_FOLDER, load_shipped_schedule


@dataclass(frozen=True)
class KnownModel:
    """What cannot be read from a model's files. None: read it there."""

    id: str
    """Hub id, or the name of a model that ships with a package."""
    license: str
    use_restrictions: str
    """What may not be done with the images, in a sentence or two; goes into every manifest."""
    schedule_name: str
    """Which shipped schedules are meant for it: NAME-MODE.json in `schedule_folder`."""
    coupling_mode: CouplingMode
    """The default: what was measured to be best on it, else the published form."""
    num_inference_steps: int
    guidance_scale: float
    """0 where the model has no guidance embedding."""
    max_sequence_length: int | None = None
    """Tokens of a text."""
    size_px: int | None = None
    folder: Path | None = None
    """Where its files lie; None: on the hub."""
    schedule_folder: Path = SHIPPED_FOLDER
    num_parameters: Mapping[str, int] = field(default_factory=dict)
    """By part of the pipeline, of a model on the hub; empty: not known before it is fetched."""
    training: Training = "unknown"
    """Whether an image editor may be trained on what it makes."""

    def load_schedule(self, mode: CouplingMode) -> Schedule:
        """Return the schedule that is meant for the model in a mode.

        Raises:
            ScheduleError: there is none.
        """
        return load_shipped_schedule(self.schedule_name, mode, self.schedule_folder)


_FLUX_PARAMETERS = MappingProxyType(
    {
        "transformer": 11_901_408_320,
        "text_encoder_2": 4_762_310_656,
        "text_encoder": 123_060_480,
        "vae": 83_819_683,
    }
)
_KLEIN_4B_PARAMETERS = MappingProxyType(
    {"transformer": 3_875_544_576, "text_encoder": 4_022_468_096, "vae": 84_046_115}
)
_KLEIN_9B_PARAMETERS = MappingProxyType(
    {"transformer": 9_078_581_248, "text_encoder": 8_190_735_360, "vae": 84_046_115}
)
_FLUX_2_DEV_PARAMETERS = MappingProxyType(
    {"transformer": 32_223_281_152, "text_encoder": 24_011_361_280, "vae": 84_046_115}
)
_QWEN_IMAGE_PARAMETERS = MappingProxyType(
    {"transformer": 20_430_401_088, "text_encoder": 8_292_166_656, "vae": 126_892_531}
)


def _know(
    name: str, schedule: str, num_inference_steps: int, guidance_scale: float, **more: Any
) -> KnownModel:
    """Return a model of the hub; mode region has not been measured on any of them."""
    known_id = name if "/" in name else f"black-forest-labs/{name}"
    licence = LICENCES[known_id]
    defaults = {"max_sequence_length": 512, "size_px": 1024, "coupling_mode": "log_bias"}
    return KnownModel(
        id=known_id,
        license=licence.name,
        use_restrictions=licence.use_restrictions,
        training=licence.training,
        schedule_name=schedule,
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        **{**defaults, **more},
    )


_FLUX_1_DEV = _know("FLUX.1-dev", "flux-dev", 28, 3.5, num_parameters=_FLUX_PARAMETERS)
_FLUX_1_SCHNELL = _know(
    "FLUX.1-schnell", "flux-schnell", 4, 0.0,
    max_sequence_length=256, num_parameters=_FLUX_PARAMETERS,
)  # fmt: skip
_KLEIN_4B = _know("FLUX.2-klein-4B", "flux2-klein", 4, 0.0, num_parameters=_KLEIN_4B_PARAMETERS)
_KLEIN_BASE_4B = _know(
    "FLUX.2-klein-base-4B", "flux2-klein-base", 50, 4.0, num_parameters=_KLEIN_4B_PARAMETERS
)
_FLUX_2_DEV_MODEL = _know("FLUX.2-dev", "flux2-dev", 50, 4.0, num_parameters=_FLUX_2_DEV_PARAMETERS)
_QWEN_IMAGE_MODEL = _know(
    "Qwen/Qwen-Image", "qwen-image", 50, 4.0, num_parameters=_QWEN_IMAGE_PARAMETERS
)
_MINIATURE = KnownModel(
    id="miniature",
    license="Apache-2.0",
    use_restrictions="None: drawn by this project's own model, trained on its own renderings.",
    training="allowed",
    schedule_name="miniature",
    coupling_mode="region",
    num_inference_steps=20,
    guidance_scale=0.0,
    folder=miniature_folder("flux"),
)
_ALL = (
    _FLUX_1_DEV,
    _FLUX_1_SCHNELL,
    _know("FLUX.1-Krea-dev", "flux-dev", 28, 4.5, num_parameters=_FLUX_PARAMETERS),
    _KLEIN_4B,
    _KLEIN_BASE_4B,
    _know("FLUX.2-klein-9B", "flux2-klein", 4, 0.0, num_parameters=_KLEIN_9B_PARAMETERS),
    _know("FLUX.2-klein-base-9B", "flux2-klein-base", 50, 4.0, num_parameters=_KLEIN_9B_PARAMETERS),
    _FLUX_2_DEV_MODEL,
    _QWEN_IMAGE_MODEL,
    _MINIATURE,
)
KNOWN_MODELS: Mapping[str, KnownModel] = {model.id: model for model in _ALL}


def list_known_models() -> dict[str, KnownModel]:
    """Return the models that are known by name, those of other packages last, by id.

    Raises:
        ConfigError: a package registers a model whose id is taken, or its record does not load.
    """
    models = dict(KNOWN_MODELS)
    for name, model in find_plugins("base_models").items():
        if model.id in models:
            raise ConfigError(
                f"the entry point {name} of coupled_images.base_models registers the base model "
                f"{model.id!r}, but there is one of that id: give it another"
            )
        models[model.id] = model
    return models


def describe_unknown_model(
    base_model: str,
    transformer_config: Mapping[str, Any],
    family: FamilySpec = FLUX_1,
    guidance: Guidance = "none",
    origin: str | None = None,
) -> KnownModel:
    """Return what to assume of a model that is not in the list.

    FLUX.1's own geometry gets the defaults of dev (with guidance embedding) or schnell (without),
    any other those of the miniature; FLUX.2 [klein] those of its distilled or its base model; other
    families have one model. Its licence is not ours to guess: it is that of `origin`, see
    `licences.find_origin`, or unknown.
    """
    num_layers = transformer_config.get("num_layers")
    restricted = {FLUX_1: "FLUX.1 [dev]", QWEN_IMAGE: None}.get(
        family, "FLUX.2 [dev] or [klein] 9B"
    )
    if family is FLUX_1:
        full = _FLUX_1_SCHNELL if guidance == "none" else _FLUX_1_DEV
        alike, full_size = full if num_layers == 19 else _MINIATURE, 19
    elif family is FLUX_2_DEV:
        alike, full_size = _FLUX_2_DEV_MODEL, 8
    elif family is QWEN_IMAGE:
        alike, full_size = _QWEN_IMAGE_MODEL, 60
    else:
        alike, full_size = _KLEIN_4B if guidance == "none" else _KLEIN_BASE_4B, 5
    default_scale = alike.guidance_scale or 3.5
    licence = Licence("unknown", _describe_unknown_terms(restricted))
    if origin is not None:
        made_of = f"Its files record that it was made of {origin}, whose terms these are. "
        licence = replace(
            LICENCES[origin], use_restrictions=made_of + LICENCES[origin].use_restrictions
        )
    return replace(
        alike,
        id=base_model,
        license=licence.name,
        use_restrictions=licence.use_restrictions,
        training=licence.training,
        guidance_scale=0.0 if guidance == "none" else default_scale,
        size_px=None,
        folder=None,
        num_parameters=alike.num_parameters if num_layers == full_size else {},
    )


def _describe_unknown_terms(restricted: str | None) -> str:
    terms = "Not known to this program: see the licence of the base model."
    if restricted is None:
        return terms
    return (
        f"{terms} If it derives from {restricted}, that model's non-commercial licence and its ban "
        "on training competing models apply."
    )
