"""Under which licences known base models are, and what they allow to do with the images."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

Training = Literal["allowed", "not competing", "unknown"]
"""Whether an image editor may be trained on what a model makes: any, none that competes with the
model, or nobody here knows."""


@dataclass(frozen=True)
class Licence:
    """Terms of a base model."""

    name: str
    use_restrictions: str
    """What may not be done with the images, in a sentence or two; goes into every manifest."""
    training: Training = "unknown"


_FLUX_1_DEV = Licence(
    "FLUX.1 [dev] Non-Commercial License",
    "The model itself is licensed for non-commercial use only. Outputs may be used "
    "commercially, but not to train, fine-tune or distil a model that competes with FLUX.1 "
    "[dev] or FLUX.1 Kontext [dev]. Whoever shows outputs must filter unlawful content or "
    "review it, and disclose that they are AI-generated where the law asks for it.",
    "not competing",
)
_FLUX_2_NON_COMMERCIAL = Licence(
    "FLUX Non-Commercial License",
    "The model itself is licensed for non-commercial use only. Outputs may be used "
    "commercially, but not to train, fine-tune or distil a model that competes with the "
    "FLUX models under this licence. Whoever shows outputs must filter unlawful content or "
    "review it, and disclose that they are AI-generated where the law asks for it.",
    "not competing",
)
_FREE = Licence(
    "Apache-2.0",
    "None from the model's licence. Its model card rules out unlawful use, harm to minors, "
    "harassment, non-consensual nudity and disinformation.",
    "allowed",
)
_FREE_ALONE = Licence("Apache-2.0", "None from the model's licence; see its model card.", "allowed")
LICENCES: Mapping[str, Licence] = {
    "black-forest-labs/FLUX.1-dev": _FLUX_1_DEV,
    "black-forest-labs/FLUX.1-Krea-dev": _FLUX_1_DEV,
    "black-forest-labs/FLUX.1-schnell": _FREE,
    "black-forest-labs/FLUX.2-klein-4B": _FREE,
    "black-forest-labs/FLUX.2-klein-base-4B": _FREE,
    "black-forest-labs/FLUX.2-klein-9B": _FLUX_2_NON_COMMERCIAL,
    "black-forest-labs/FLUX.2-klein-base-9B": _FLUX_2_NON_COMMERCIAL,
    "black-forest-labs/FLUX.2-dev": _FLUX_2_NON_COMMERCIAL,
    "Qwen/Qwen-Image": _FREE_ALONE,
    "Tongyi-MAI/Z-Image": _FREE_ALONE,
    "Tongyi-MAI/Z-Image-Turbo": _FREE_ALONE,
}
"""By hub id; also of models that cannot be coupled yet."""


def describe_training(training: Training) -> str:
    """Return in a sentence whether an editor may be trained on a model's images."""
    return {
        "allowed": "Training an image editor on the pairs is allowed.",
        "not competing": (
            "Training an image editor that competes with the model is not allowed: take "
            "FLUX.1-schnell or FLUX.2-klein-4B for that."
        ),
        "unknown": "Whether an image editor may be trained on the pairs is not known.",
    }[training]


OTHER_WEIGHTS = "Weights of other files were used as well, under terms of their own."
"""Added to the restrictions of a base model."""


def restrict_training(training: Training, *, has_others: bool) -> Training:
    """Return what is still allowed where weights of other files, under other terms, count too."""
    return "unknown" if training == "allowed" and has_others else training


def has_other_weights(weights: str) -> bool:
    """Return whether a label of weights names a file in the transformer's place, or a LoRA."""
    return any(each.startswith(("transformer=", "lora=")) for each in weights.split())


_CACHED = re.compile(r"models--([^/\\]+?)--([^/\\]+)")
"""How the hub's cache names the folder of a model."""


def find_origin(folder: Path | None, *configs: Mapping[str, Any]) -> str | None:
    """Return the model of `LICENCES` whose terms hold for another one, by that one's own files.

    Libraries write where weights were loaded from into what they save, a quantised copy as well as
    a fine-tune. A non-commercial licence binds whatever is made of the model. What is made of a
    free one may be under any other: the model card has to name the same.

    Args:
        folder: Where its model card may lie, README.md; None: it is not looked at.
        configs: Of the pipeline and its transformer.

    Returns:
        Its hub id; None: the files say nothing, do not agree, or leave it open.
    """
    card = {} if folder is None else _read_card(folder / "README.md")
    named = card.get("base_model")
    paths = [each.get("_name_or_path") for each in configs]
    paths += named if isinstance(named, list) else [named]
    recorded = {_CACHED.sub(r"\1/\2", path) for path in paths if isinstance(path, str)}
    found = {name for name in LICENCES for each in recorded if f"/{name}/" in f"/{each}/"}
    if len(found) != 1:
        return None
    (origin,) = found
    licence = card.get("license_name") or card.get("license")
    if licence is None:
        return None if LICENCES[origin].training == "allowed" else origin
    return origin if _spell(licence) == _spell(LICENCES[origin].name) else None


def _read_card(path: Path) -> Mapping[str, Any]:
    """Return what stands between the first two lines of dashes."""
    text = path.read_text("utf-8", errors="replace") if path.is_file() else ""
    header = re.match(r"---\n(.*?)\n---\s", text + "\n", re.DOTALL)
    try:
        card = yaml.safe_load(header[1]) if header else {}
    except (yaml.YAMLError, ValueError):  # the latter: what looks like a date and is none
        return {}
    return card if isinstance(card, dict) else {}


def _spell(licence: object) -> str:
    """Return a licence's name as hubs and people write it alike: flux-1-dev-non-commercial."""
    return "-".join(re.findall(r"[a-z0-9]+", str(licence).lower())).removesuffix("-license")
