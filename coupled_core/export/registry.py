"""All formats by name. A new one: a file in `formats/`, a line here, a line in `catalogue`."""

from collections.abc import Mapping

from coupled_core.errors import ConfigError
from coupled_core.export.edits import DIRECTIONS, Directions
from coupled_core.export.format import ExportFormat
from coupled_core.export.formats.ai_toolkit import AI_TOOLKIT
from coupled_core.export.formats.description import CARD_ONLY, CROISSANT_ONLY
from coupled_core.export.formats.diffsynth import DIFFSYNTH
from coupled_core.export.formats.diffusion_pipe import DIFFUSION_PIPE
from coupled_core.export.formats.flf2v import FLF2V
from coupled_core.export.formats.hugging_face import HuggingFaceFormat
from coupled_core.export.formats.image_folder import IMAGE_FOLDER
from coupled_core.export.formats.musubi import MUSUBI_FRAMEPACK, MUSUBI_TUNER
from coupled_core.export.formats.parquet import INSTRUCT_PIX2PIX, KONTEXT
from coupled_core.export.formats.simpletuner import SIMPLETUNER
from coupled_core.export.formats.webdataset import WebDatasetFormat
from coupled_core.export.pair_rows import SPLITS, Selection

_FORMATS: tuple[ExportFormat, ...] = (
    INSTRUCT_PIX2PIX,
    IMAGE_FOLDER,
    KONTEXT,
    AI_TOOLKIT,
    MUSUBI_TUNER,
    MUSUBI_FRAMEPACK,
    DIFFSYNTH,
    SIMPLETUNER,
    DIFFUSION_PIPE,
    WebDatasetFormat(),
    HuggingFaceFormat(),
    FLF2V,
    CARD_ONLY,
    CROISSANT_ONLY,
)
_WITHOUT_INSTRUCTIONS = {"flf2v", "croissant"}
"""Frames go from caption to caption; Croissant describes the dataset's own parts."""
EXPORT_FORMATS: Mapping[str, ExportFormat] = {entry.name: entry for entry in _FORMATS}


def find_format(name: str) -> ExportFormat:
    """Return a format.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in EXPORT_FORMATS:
        raise ConfigError(f"unknown format {name!r}: expected one of {', '.join(EXPORT_FORMATS)}")
    return EXPORT_FORMATS[name]


def select_edits(
    export_format: ExportFormat,
    *,
    split: str | None = None,
    directions: Directions = "both",
    include_entity_swaps: bool = False,
    max_shard_bytes: int | None = None,
) -> Selection:
    """Return which edits an export holds, the format's defaults filled in.

    Args:
        export_format: The format.
        split: train, val, test or all. None: all where splits stand side by side, else train.
        directions: Which ways a pair is read.
        include_entity_swaps: Only asked by flf2v, which leaves them out otherwise.
        max_shard_bytes: None: the format's.

    Raises:
        ConfigError: a value is unknown, or the format has no place for several splits.
    """
    wanted = split or ("all" if export_format.keeps_splits else "train")
    if wanted not in (*SPLITS, "all"):
        raise ConfigError(f"unknown split {wanted!r}: expected {', '.join(SPLITS)} or all")
    if wanted == "all" and not export_format.keeps_splits:
        raise ConfigError(
            f"{export_format.name} would mix the splits: export train, val and test one by one"
        )
    if directions not in DIRECTIONS:
        raise ConfigError(f"unknown directions {directions!r}: expected {', '.join(DIRECTIONS)}")
    return Selection(
        splits=SPLITS if wanted == "all" else (wanted,),
        directions=directions,
        skips_entity_swaps=export_format.name == "flf2v" and not include_entity_swaps,
        needs_instructions=export_format.name not in _WITHOUT_INSTRUCTIONS,
        max_shard_bytes=max_shard_bytes or export_format.max_shard_bytes,
    )
