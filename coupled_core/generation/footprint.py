"""How large a base model is: what is still to be fetched, and what it takes on a device."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from coupled_core.config import GenerationConfig
from coupled_core.coupling.cost_model import Geometry
from coupled_core.generation.model_files import (
    KnownModel,
    ModelFiles,
    find_transformer_file,
    is_bare,
    list_weights,
)

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


def find_footprint(files: ModelFiles, config: GenerationConfig | None = None) -> Footprint:
    """Return the size of a base model, from a folder's files or, on the hub, from what is known.

    Args:
        files: Of the model.
        config: Settings, which may name a file that takes the transformer's place; a GGUF file
            stays in memory as it is.
    """
    config = config or GenerationConfig()
    file, is_gguf = find_transformer_file(config)
    parts = files.family.list_parts(has_own_transformer=file is None)
    stored: dict[str, int] = {}
    if file is not None and is_gguf and file.is_file():
        stored["transformer"] = file.stat().st_size
    if is_bare(files):
        return Footprint(files.known.num_parameters, hub_bytes(files.known, parts), stored)
    if files.folder is None:
        missing = max(0, hub_bytes(files.known, parts) - _cached_bytes(files, parts))
        return Footprint(files.known.num_parameters, missing, stored)
    weights = list_weights(files.folder, parts)
    if files.quantization:
        stored["transformer"] = _size(path for path in weights if path.parent.name == "transformer")
    counts = _count_parameters({path: path.parent.name for path in weights})
    if file is not None and counts:
        counts |= {"transformer": 0} if is_gguf else _count_parameters({file: "transformer"})
    return Footprint(counts, 0, stored)


def hub_bytes(known: KnownModel, parts: Sequence[str] | None = None) -> int:
    """Return what a model's weights, or those of some parts, take on the hub; 0: unknown."""
    sizes = known.num_parameters
    return _STORED_BYTES * sum(sizes.get(part, 0) for part in (sizes if parts is None else parts))


def _count_parameters(weights: Mapping[Path, str]) -> dict[str, int]:
    """Read the headers of files of weights, by part; empty: one of them is damaged."""
    from safetensors import SafetensorError, safe_open

    counts: dict[str, int] = {}
    try:
        for path, part in weights.items():
            with safe_open(path, framework="np") as file:
                shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
            counts[part] = counts.get(part, 0) + sum(map(prod, shapes))
    except (OSError, SafetensorError):  # what is wrong with them is told where they are needed
        return {}
    return counts


def _cached_bytes(files: ModelFiles, parts: Sequence[str]) -> int:
    """Return what of a hub model's weights lies in the local cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    repository = Path(HF_HUB_CACHE) / f"models--{files.name.replace('/', '--')}"
    snapshot = repository / "snapshots" / files.revision
    # Fetched whole, a file has its name here; what is half way has none.
    return _size(list_weights(snapshot, parts))


def _size(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


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
