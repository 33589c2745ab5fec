"""The manifest rows of the pairs to export, in the order of their images, window by window."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from coupled_core.dataset.reader import iter_manifest
from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.errors import DatasetError
from coupled_core.export.edits import Directions
from coupled_core.storage.store import ObjectStore

COLUMNS = (
    "pair_id", "group_id", "kept", "partition", "image_part", "image_row",
    "image_0_sha256", "image_1_sha256", "image_0_bytes", "image_1_bytes", "width", "height",
    "prompt_0", "prompt_1", "background_prompt", "entity_0", "entity_1",
    "edit_instruction", "inverse_instruction", "variation_kind",
    "background_similarity", "alignment", "combined", "clip_sim_dir", "clip_model",
    "seed", "base_model", "base_model_revision", "license", "use_restrictions", "ai_generated",
    "content_filter_version", "review_status",
)  # fmt: skip
"""What exports read of the manifest."""
_REQUIRED = (
    "partition", "image_part", "image_row", "image_0_sha256", "image_1_sha256", "width", "height",
    "prompt_0", "prompt_1", "edit_instruction", "inverse_instruction",
)  # fmt: skip
_WINDOW_ROWS = 4096


@dataclass(frozen=True)
class Selection:
    """Which edits an export holds, and how it is cut into files."""

    partitions: tuple[str, ...]
    directions: Directions = "both"
    skips_entity_swaps: bool = False
    max_shard_bytes: int = 500_000_000
    """Image bytes at which a shard, or a step of a resumable export, is closed."""

    def edits_per_pair(self) -> int:
        """Return 2 for both directions, else 1."""
        return 2 if self.directions == "both" else 1


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
    wanted = pc.is_in(batch["partition"], pa.array(selection.partitions, pa.string()))
    mask = pc.and_(batch["kept"], wanted)
    if selection.skips_entity_swaps:
        swap = pc.fill_null(pc.equal(batch["variation_kind"], "entity_swap"), True)
        mask = pc.and_(mask, pc.invert(swap))
    return mask


def _check_complete(row: Row) -> None:
    if missing := [name for name in _REQUIRED if row[name] is None]:
        raise DatasetError(
            f"kept pair {row['pair_id']} has no {', '.join(missing)} in the manifest: "
            "run `coupled verify` on the dataset"
        )
