"""What an export holds, known before an image is read: selected pairs, cut into units.

A unit is a shard, or a step of a folder; each is written and checked as a whole.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from coupled_core.dataset.reader import iter_manifest
from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.errors import DatasetError
from coupled_core.export.edits import DIRECTIONS, INSTRUCTIONS, Direction, Directions
from coupled_core.export.folder import UnitId
from coupled_core.storage.store import ObjectStore

COLUMNS = (
    "pair_id", "group_id", "kept", "partition", "image_part", "image_row",
    "image_0_sha256", "image_1_sha256", "image_0_bytes", "image_1_bytes", "width", "height",
    "prompt_0", "prompt_1", "background_prompt", "entity_0", "entity_1",
    "edit_instruction", "inverse_instruction", "variation_kind",
    "background_similarity", "alignment", "combined", "clip_sim_dir", "clip_model",
    "seed", "base_model", "base_model_revision", "weights", "license", "use_restrictions",
    "ai_generated", "content_filter_version", "review_status",
)  # fmt: skip
"""What exports read of the manifest."""
_REQUIRED = (
    "partition", "image_part", "image_row", "image_0_sha256", "image_1_sha256", "width", "height",
    "prompt_0", "prompt_1",
)  # fmt: skip
_WINDOW_ROWS = 4096
_MAX_UNIT_PAIRS = 20_000


@dataclass(frozen=True)
class Selection:
    """Which edits an export holds, and how it is cut into files."""

    partitions: tuple[str, ...]
    directions: Directions = "both"
    skips_entity_swaps: bool = False
    max_shard_bytes: int = 500_000_000
    """Image bytes at which a shard, or a step of a resumable export, is closed."""

    needs_instructions: bool = True
    """Edits without an instruction are left out."""
    absolute_paths: bool = False
    """Trainers are told whole paths, so that they can be started in any folder."""

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
            # In the order of their images, so that each image part is read forwards.
            yield sorted(rows, key=lambda row: (row["image_part"], row["image_row"]))


class UnitAssigner:
    """Hands out units to pairs in the order of the stream; the same pairs get the same units."""

    def __init__(self, selection: Selection) -> None:
        self._max_bytes = selection.max_shard_bytes
        self._selection = selection
        self._state: dict[str, tuple[int, int, int]] = {}

    def assign(self, row: Row) -> UnitId:
        """Return the unit of the next pair that has an edit to export."""
        pair_bytes = (row["image_0_bytes"] or 0) + (row["image_1_bytes"] or 0)
        num_bytes = pair_bytes * len(self._selection.directions_of(row))
        index, num_pairs, filled = self._state.get(row["partition"], (0, 0, 0))
        is_full = filled + num_bytes > self._max_bytes or num_pairs >= _MAX_UNIT_PAIRS
        # A pair that is larger than a unit has one to itself.
        if num_pairs and is_full:
            index, num_pairs, filled = index + 1, 0, 0
        self._state[row["partition"]] = (index, num_pairs + 1, filled + num_bytes)
        return UnitId(row["partition"], index)


@dataclass
class DatasetFacts:
    """What the cards say about the exported pairs; grows with kinds of values, not with pairs."""

    num_pairs: int = 0
    num_edits: int = 0
    """Directions of those pairs that are exported."""
    num_edits_without_instruction: int = 0
    """Edits that are left out, because nobody could say in words what to change."""
    pairs_by_partition: Counter[str] = field(default_factory=Counter)
    pairs_by_variation: Counter[str] = field(default_factory=Counter)
    pairs_by_size: Counter[tuple[int, int]] = field(default_factory=Counter)
    """By (width, height) in pixels."""
    sources: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """Pairs by (base model, its licence, its use restrictions)."""
    content_filters: Counter[str] = field(default_factory=Counter)
    reviews: Counter[str] = field(default_factory=Counter)

    def count_edits(self, row: Row, selection: Selection) -> int:
        """Count the edits of a pair, and those that it would have with more instructions."""
        num_edits = len(selection.directions_of(row))
        self.num_edits += num_edits
        self.num_edits_without_instruction += len(DIRECTIONS[selection.directions]) - num_edits
        return num_edits

    def count(self, row: Row) -> None:
        """Take a pair into account."""
        self.num_pairs += 1
        self.pairs_by_partition[row["partition"]] += 1
        self.pairs_by_variation[row["variation_kind"] or "unknown"] += 1
        self.pairs_by_size[row["width"], row["height"]] += 1
        # A LoRA has terms of its own, which nobody knows here: whoever reads the card must see it.
        weights = f" with {row['weights']}" if row["weights"] else ""
        self.sources[
            f"{row['base_model'] or 'unknown'}{weights}",
            row["license"] or "unknown",
            row["use_restrictions"] or "unknown",
        ] += 1
        self.content_filters[row["content_filter_version"] or "none"] += 1
        self.reviews[row["review_status"] or "not reviewed"] += 1

    @property
    def largest_size_px(self) -> tuple[int, int]:
        """(width, height) of the images with the most pixels: trainers scale larger ones down."""
        return max(self.pairs_by_size, key=lambda size: (size[0] * size[1], size))


@dataclass(frozen=True)
class ExportPlan:
    """Everything that is known before an image is read."""

    snapshot: Snapshot
    selection: Selection
    num_pairs_by_unit: dict[UnitId, int]
    facts: DatasetFacts

    @property
    def num_edits(self) -> int:
        """Edits of all units."""
        return self.facts.num_edits

    def num_units(self, partition: str) -> int:
        """Return how many units a partition is cut into."""
        return sum(unit.partition == partition for unit in self.num_pairs_by_unit)

    @property
    def partitions(self) -> tuple[str, ...]:
        """The partitions that have pairs, in the order of the selection."""
        counts = self.facts.pairs_by_partition
        return tuple(name for name in self.selection.partitions if counts[name])


def plan_export(store: ObjectStore, snapshot: Snapshot, selection: Selection) -> ExportPlan:
    """Read the manifest once and cut the selected pairs into units.

    Raises:
        DatasetError: nothing is selected, or the manifest is not whole.
    """
    assigner, facts = UnitAssigner(selection), DatasetFacts()
    units: Counter[UnitId] = Counter()
    for window in iter_windows(store, snapshot, selection):
        for row in window:
            if facts.count_edits(row, selection):
                units[assigner.assign(row)] += 1
                facts.count(row)
    if not units:
        raise DatasetError(_nothing_selected(store, snapshot, selection, facts))
    return ExportPlan(snapshot, selection, dict(sorted(units.items())), facts)


def _mask(batch: pa.RecordBatch, selection: Selection) -> pa.Array:
    wanted = pc.is_in(batch["partition"], pa.array(selection.partitions, pa.string()))
    mask = pc.and_(batch["kept"], wanted)
    if selection.skips_entity_swaps:
        # A pair of unknown kind may be a swap.
        swap = pc.fill_null(pc.equal(batch["variation_kind"], "entity_swap"), True)
        mask = pc.and_(mask, pc.invert(swap))
    return mask


def _check_complete(row: Row) -> None:
    if missing := [name for name in _REQUIRED if row[name] is None]:
        raise DatasetError(
            f"kept pair {row['pair_id']} has no {', '.join(missing)} in the manifest: "
            "run `coupled verify` on the dataset"
        )


def _nothing_selected(
    store: ObjectStore, snapshot: Snapshot, selection: Selection, facts: DatasetFacts
) -> str:
    if num_edits := facts.num_edits_without_instruction:
        return (
            f"nothing to export: none of the {num_edits} edits has an instruction (the manifest's "
            "column instruction_missing says why); only flf2v needs none"
        )
    wanted = " or ".join(selection.partitions)
    text = (
        f"nothing to export: snapshot {snapshot.snapshot_id} of {store.uri} has "
        f"{snapshot.funnel.pairs_kept} kept pairs, none of them in {wanted}"
    )
    if selection.skips_entity_swaps:
        return f"{text} without a swap of entities; --include-entity-swap takes those too"
    return f"{text}; try --partition all or another snapshot"
