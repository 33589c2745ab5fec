"""Base models that we know by name: defaults, licence, and what their images may be used for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from coupled_core.config import CouplingMode


@dataclass(frozen=True)
class KnownModel:
    """What cannot be read from a model's files. None: read it there."""

    license: str
    use_restrictions: str
    """Of the images, in a sentence or two; goes into every manifest."""
    schedule_name: str
    """Which shipped schedules are meant for it."""
    coupling_mode: CouplingMode
    """The default: what was measured to be best on it, else the published form."""
    num_inference_steps: int
    guidance_scale: float
    """0 where the model has no guidance embedding."""
    max_sequence_length: int | None = None
    """T5 tokens."""
    size_px: int | None = None


_BLACK_FOREST_DEV = KnownModel(
    license="FLUX.1 [dev] Non-Commercial License",
    use_restrictions=(
        "The model itself is licensed for non-commercial use only. Outputs may be used "
        "commercially, but not to train, fine-tune or distil a model that competes with FLUX.1 "
        "[dev] or FLUX.1 Kontext [dev]. Whoever shows outputs must filter unlawful content or "
        "review it, and disclose that they are AI-generated where the law asks for it."
    ),
    schedule_name="flux-dev",
    coupling_mode="log_bias",
    num_inference_steps=28,
    guidance_scale=3.5,
    max_sequence_length=512,
    size_px=1024,
)
_BLACK_FOREST_SCHNELL = KnownModel(
    license="Apache-2.0",
    use_restrictions=(
        "None from the model's licence. Its model card rules out unlawful use, harm to minors, "
        "harassment, non-consensual nudity and disinformation."
    ),
    schedule_name="flux-schnell",
    coupling_mode="log_bias",
    num_inference_steps=4,
    guidance_scale=0.0,
    max_sequence_length=256,
    size_px=1024,
)
_MINIATURE = KnownModel(
    license="Apache-2.0",
    use_restrictions="None: drawn by this project's own model, trained on its own renderings.",
    schedule_name="miniature",
    coupling_mode="region",
    num_inference_steps=20,
    guidance_scale=0.0,
)
KNOWN_MODELS: Mapping[str, KnownModel] = {
    "black-forest-labs/FLUX.1-dev": _BLACK_FOREST_DEV,
    "black-forest-labs/FLUX.1-schnell": _BLACK_FOREST_SCHNELL,
    "miniature": _MINIATURE,
}


def describe_unknown_model(transformer_config: Mapping[str, Any]) -> KnownModel:
    """Return what to assume of a model that is not in the list, from the shape of its transformer.

    FLUX.1's own geometry gets the defaults of dev (with guidance embedding) or schnell (without);
    anything else those of the miniature. Its licence is not ours to guess.
    """
    guided = bool(transformer_config.get("guidance_embeds"))
    full_size = transformer_config.get("num_layers") == 19
    alike = (_BLACK_FOREST_DEV if guided else _BLACK_FOREST_SCHNELL) if full_size else _MINIATURE
    return KnownModel(
        license="unknown",
        use_restrictions=(
            "Not known to this program: see the licence of the base model. If it derives from "
            "FLUX.1 [dev], that model's non-commercial licence and its ban on training competing "
            "models apply."
        ),
        schedule_name=alike.schedule_name,
        coupling_mode=alike.coupling_mode,
        num_inference_steps=alike.num_inference_steps,
        guidance_scale=3.5 if guided else 0.0,
        max_sequence_length=alike.max_sequence_length,
        size_px=None,
    )
