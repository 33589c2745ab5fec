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
from coupled_core.generation.families.spec import FLUX_1, FamilySpec, Guidance
from coupled_core.generation.licences import LICENCES, Training
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


def _know(
    name: str, schedule: str, num_inference_steps: int, guidance_scale: float, **more: Any
) -> KnownModel:
    """Return a model of Black Forest Labs; mode region has not been measured on any of them."""
    known_id = f"black-forest-labs/{name}"
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
) -> KnownModel:
    """Return what to assume of a model that is not in the list.

    FLUX.2 [klein] gets the defaults of its distilled or its base model; FLUX.1's own geometry those
    of dev (with guidance embedding) or schnell (without); anything else those of the miniature. Its
    licence is not ours to guess.
    """
    num_layers = transformer_config.get("num_layers")
    if family is FLUX_1:
        has_dev_size = num_layers == 19
        full = _FLUX_1_SCHNELL if guidance == "none" else _FLUX_1_DEV
        alike, restricted = full if has_dev_size else _MINIATURE, "FLUX.1 [dev]"
        scale = 0.0 if guidance == "none" else 3.5
    else:
        alike = _KLEIN_4B if guidance == "none" else _KLEIN_BASE_4B
        if num_layers != 5:
            alike = replace(alike, num_parameters={})
        restricted, scale = "FLUX.2 [klein] 9B", alike.guidance_scale
    return replace(
        alike,
        id=base_model,
        license="unknown",
        use_restrictions=(
            "Not known to this program: see the licence of the base model. If it derives from "
            f"{restricted}, that model's non-commercial licence and its ban on training competing "
            "models apply."
        ),
        training="unknown",
        guidance_scale=scale,
        size_px=None,
        folder=None,
    )
