"""How large a base model is: what is still to be fetched, and what it takes on a device."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from coupled_core.coupling.cost_model import Geometry
from coupled_core.generation.model_files import KnownModel, ModelFiles, is_bare, list_weights

_STORED_BYTES = 2
"""A parameter on the hub, in bfloat16."""


@dataclass(frozen=True)
class Footprint:
    """The size of a base model; computed, no weights are read."""

    num_parameters: Mapping[str, int]
    """By part of the pipeline; empty: unknown."""
    missing_bytes: int
    """What a build would fetch from the hub first."""
    stored_bytes: Mapping[str, int] = field(default_factory=dict)
    """Of parts that are quantised where they lie, and stay so in memory."""


def find_footprint(files: ModelFiles, quantize: str = "none") -> Footprint:
    """Return the size of a base model, from a folder's files or, on the hub, from what is known.

    Args:
        files: Of the model.
        quantize: As in the settings; a GGUF file stays in memory as it is.
    """
    stored: dict[str, int] = {}
    gguf = Path(quantize.removeprefix("gguf:")).expanduser()
    if quantize.startswith("gguf:") and gguf.is_file():
        stored["transformer"] = gguf.stat().st_size
    if is_bare(files):
        return Footprint(files.known.num_parameters, hub_bytes(files.known), stored)
    if files.folder is not None:
        if files.quantization:
            weights = list_weights(files.folder, ("transformer",))
            stored["transformer"] = sum(path.stat().st_size for path in weights)
        return Footprint(_count_parameters(files.folder, files.family.parts), 0, stored)
    wanted = hub_bytes(files.known)
    missing = max(0, wanted - _cached_bytes(files)) if wanted else 0
    return Footprint(files.known.num_parameters, missing, stored)


def hub_bytes(known: KnownModel) -> int:
    """Return what a model's weights take on the hub; 0: unknown."""
    return sum(known.num_parameters.values()) * _STORED_BYTES


def _count_parameters(folder: Path, parts: Sequence[str]) -> dict[str, int]:
    """Read the headers of a folder's weights; other formats than safetensors are not counted."""
    from safetensors import SafetensorError, safe_open

    counts: dict[str, int] = {}
    try:
        for path in list_weights(folder, parts):
            with safe_open(path, framework="np") as file:
                shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
            counts[path.parent.name] = counts.get(path.parent.name, 0) + sum(map(prod, shapes))
    except (OSError, SafetensorError):  # what is wrong with them is told where they are needed
        return {}
    return counts


def _cached_bytes(files: ModelFiles) -> int:
    """Return what of a hub model's weights lies in the local cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    repository = Path(HF_HUB_CACHE) / f"models--{files.name.replace('/', '--')}"
    snapshot = repository / "snapshots" / files.revision
    # Fetched whole, a file has its name here; what is half way has none.
    return sum(path.stat().st_size for path in list_weights(snapshot, files.family.parts))


def geometry_of(files: ModelFiles, width: int, height: int, num_text_tokens: int) -> Geometry:
    """Return the transformer's shape and the rows that images of a size give it."""
    shape = files.transformer
    return Geometry(
        width=shape.num_attention_heads * shape.attention_head_dim,
        num_double_blocks=shape.num_layers,
        num_single_blocks=shape.num_single_layers,
        num_image_tokens=width * height // files.size_multiple_px**2,
        num_text_tokens=num_text_tokens,
        block_flops=files.family.block_flops,
    )
