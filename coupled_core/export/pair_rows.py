"""The manifest rows of the pairs to export, in the order of their images, window by window."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from coupled_core.dataset.reader import iter_manifest
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.errors import DatasetError
from coupled_core.export.edits import DIRECTIONS, INSTRUCTIONS, Direction, Directions
from coupled_core.storage.store import ObjectStore

Row = dict[str, Any]

SPLITS = ("train", "val", "test")
COLUMNS = (
    "pair_id", "group_id", "kept", "split", "image_part", "image_row",
    "image_0_sha256", "image_1_sha256", "image_0_bytes", "image_1_bytes", "width", "height",
    "prompt_0", "prompt_1", "background_prompt", "entity_0", "entity_1",
    "edit_instruction", "inverse_instruction", "variation_kind",
    "background_similarity", "alignment", "combined", "clip_sim_dir", "clip_model",
    "seed", "base_model", "base_model_revision", "license", "use_restrictions", "ai_generated",
    "content_filter_version", "review_status",
)  # fmt: skip
"""What exports read of the manifest."""
_REQUIRED = (
    "split", "image_part", "image_row", "image_0_sha256", "image_1_sha256", "width", "height",
    "prompt_0", "prompt_1",
)  # fmt: skip
_WINDOW_ROWS = 4096


@dataclass(frozen=True)
class Selection:
    """Which edits an export holds, and how it is cut into files."""

    splits: tuple[str, ...]
    directions: Directions = "both"
    skips_entity_swaps: bool = False
    max_shard_bytes: int = 500_000_000
    """Image bytes at which a shard, or a step of a resumable export, is closed."""
    needs_instructions: bool = True
    """Edits without an instruction are left out."""

    def directions_of(self, row: Mapping[str, Any]) -> tuple[Direction, ...]:
        """Return the directions in which a pair is exported; none: it is left out."""
        wanted = DIRECTIONS[self.directions]
        if not self.needs_instructions:
            return wanted
        return tuple(d for d in wanted if row[INSTRUCTIONS[d]] is not None)


def iter_windows(
    store: ObjectStore, snapshot: Snapshot, selection: Selection
) -> Iterator[list[Row]]:
    """Yield the kept pairs of a snapshot; memory is bounded by one window of manifest rows.

    Raises:
        DatasetError: a kept row lacks what every export needs.
    """
    for batch in iter_manifest(store, snapshot.parts, COLUMNS, _WINDOW_ROWS):
        rows = batch.filter(_mask(batch, selection)).to_pylist()
        for row in rows:
            _check_complete(row)
        if rows:
            yield sorted(rows, key=lambda row: (row["image_part"], row["image_row"]))


def _mask(batch: pa.RecordBatch, selection: Selection) -> pa.Array:
    wanted = pc.is_in(batch["split"], pa.array(selection.splits, pa.string()))
    mask = pc.and_(batch["kept"], wanted)
    if selection.skips_entity_swaps:
        swap = pc.fill_null(pc.equal(batch["variation_kind"], "entity_swap"), True)
        mask = pc.and_(mask, pc.invert(swap))
    return mask


def _check_complete(row: Row) -> None:
    if missing := _nulls(row, _REQUIRED):
        raise DatasetError(
            f"kept pair {row['pair_id']} has no {', '.join(missing)} in the manifest: "
            "run `coupled verify` on the dataset"
        )


def _nulls(row: Row, names: Sequence[str]) -> list[str]:
    return [name for name in names if row[name] is None]
