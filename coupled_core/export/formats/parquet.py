"""Formats that are Parquet files for `datasets.load_dataset(FOLDER)`."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from coupled_core.export.card import CARD, render_card
from coupled_core.export.edits import DirectedEdit, SeenEdit
from coupled_core.export.folder import ExportFolder, FileInfo, UnitId
from coupled_core.export.format import UnitWriter
from coupled_core.export.parquet_files import Field, ParquetShard, image_column, read_shards
from coupled_core.export.plan import ExportPlan

HUB_SPLITS: Mapping[str, str] = {"train": "train", "val": "validation", "test": "test"}
"""Our partitions, and what the Hugging Face Hub calls such splits."""

KEY_COLUMNS = (
    Field("pair_id", pa.string(), lambda e: e.pair_id, "The pair; two edits come from each."),
    Field("direction", pa.string(), lambda e: e.direction, "forward (image 0 to 1) or backward."),
)


@dataclass(frozen=True)
class ParquetFormat:
    """Shards `data/<split>-00000-of-000NN.parquet` with one row an edit."""

    name: str
    columns: tuple[Field, ...]
    source: str
    """Name of the column with the source image."""
    target: str
    instruction: str
    keeps_partitions: bool = True
    as_png: bool = False
    writes_edits: bool = True
    max_shard_bytes: int = 500_000_000

    def open_unit(self, unit: UnitId, folder: ExportFolder, plan: ExportPlan) -> UnitWriter:
        """Begin a shard."""
        return ParquetShard(shard_path(unit, plan), self.columns, folder)

    def finish(self, folder: ExportFolder, plan: ExportPlan) -> tuple[FileInfo, ...]:
        """Write the card, which tells `datasets` where the splits are."""
        return (folder.write(CARD, render_card(self.name, plan, data_files(plan), self.columns)),)

    def read_back(self, root: Path) -> Iterator[SeenEdit]:
        """Yield the rows of all shards."""
        names = ["pair_id", "direction", self.source, self.target, self.instruction]
        return read_shards(sorted((root / "data").glob("*.parquet")), self._seen, names)

    def _seen(self, row: dict[str, Any]) -> SeenEdit:
        return SeenEdit(
            key=f"{row['pair_id']}-{row['direction']}",
            source_sha256=hashlib.sha256(row[self.source]["bytes"]).hexdigest(),
            target_sha256=hashlib.sha256(row[self.target]["bytes"]).hexdigest(),
            instruction=row[self.instruction],
        )


def shard_path(unit: UnitId, plan: ExportPlan) -> str:
    """Return where a unit's shard stands; the Hub's names."""
    count = plan.num_units(unit.partition)
    return f"data/{HUB_SPLITS[unit.partition]}-{unit.index:05d}-of-{count:05d}.parquet"


def data_files(plan: ExportPlan) -> dict[str, str]:
    """Return the pattern of the shards of each split, by the Hub's names."""
    return {HUB_SPLITS[name]: f"data/{HUB_SPLITS[name]}-*.parquet" for name in plan.partitions}


def _instruction(name: str) -> Field:
    return Field(name, pa.string(), lambda edit: edit.instruction, "What to change, in words.")


def _source(name: str) -> Field:
    return image_column(name, lambda edit: edit.source, "The image to edit.")


def _target(name: str) -> Field:
    return image_column(name, lambda edit: edit.target, "The image after the edit.")


def _plain(name: str, kind: pa.DataType, meaning: str) -> Field:
    def value(edit: DirectedEdit) -> Any:
        return edit.row[name]

    return Field(name, kind, value, meaning)


_TEXT, _REAL = pa.string(), pa.float64()

INSTRUCT_PIX2PIX = ParquetFormat(
    "diffusers-instruct-pix2pix",
    # The trainer takes the first three columns in this order when it is given no names.
    (_source("input_image"), _target("edited_image"), _instruction("edit_prompt"), *KEY_COLUMNS),
    source="input_image",
    target="edited_image",
    instruction="edit_prompt",
)

KONTEXT = ParquetFormat(
    "diffusers-kontext",
    # The names that the FLUX control trainers have as defaults; the Kontext trainer has none.
    (_target("image"), _source("conditioning_image"), _instruction("text"), *KEY_COLUMNS),
    source="conditioning_image",
    target="image",
    instruction="text",
)

HUGGING_FACE_COLUMNS = (
    _source("input_image"),
    _target("edited_image"),
    _instruction("edit_prompt"),
    Field("input_caption", _TEXT, lambda e: e.source_caption, "Full prompt of the input image."),
    Field("edited_caption", _TEXT, lambda e: e.target_caption, "Full prompt of the edited image."),
    _plain("background_prompt", _TEXT, "What both images share, in words."),
    Field("input_entity", _TEXT, lambda e: e.source_entity, "What only the input image shows."),
    Field("edited_entity", _TEXT, lambda e: e.target_entity, "What only the edited image shows."),
    *KEY_COLUMNS,
    _plain("group_id", _TEXT, "Group of prompts; its images share one noise."),
    _plain("variation_kind", _TEXT, "entity_swap, pose, position or appearance."),
    _plain("width", pa.int32(), "Pixels, of both images."),
    _plain("height", pa.int32(), "Pixels, of both images."),
    _plain("background_similarity", _REAL, "S <= 0; 0 is an identical background."),
    _plain("alignment", _REAL, "T = 100 * mean CLIP cosine of images and prompts."),
    _plain("combined", _REAL, "J = 0.03495 S + 0.05 T + 0.5."),
    _plain("clip_model", _TEXT, "CLIP model behind T and J; values of two models do not compare."),
    _plain("seed", pa.int64(), "Seed of the noise."),
    _plain("base_model", _TEXT, "Model that made the images."),
    _plain("license", _TEXT, "Its licence, which governs the images."),
    _plain("use_restrictions", _TEXT, "What that licence forbids to do with them."),
    _plain("ai_generated", pa.bool_(), "Always true: to be disclosed where images are shown."),
    _plain("review_status", _TEXT, "A person's verdict; null before review."),
)
