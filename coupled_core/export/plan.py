"""Cut an export into units: shards, or steps of a folder, each written and checked as a whole."""

from collections import Counter
from dataclasses import dataclass, field

from coupled_core.dataset.snapshot import Snapshot
from coupled_core.errors import DatasetError
from coupled_core.export.edits import DIRECTIONS
from coupled_core.export.pair_rows import Row, Selection, iter_windows
from coupled_core.storage.store import ObjectStore

_MAX_UNIT_PAIRS = 20_000


@dataclass(frozen=True, order=True)
class UnitId:
    """One unit of one split."""

    split: str
    index: int
    """From 0 within the split."""

    def __str__(self) -> str:
        return f"{self.split}-{self.index:05d}"


class UnitAssigner:
    """Hands out units to pairs in the order of the stream; the same pairs get the same units."""

    def __init__(self, selection: Selection) -> None:
        self._max_bytes = selection.max_shard_bytes
        self._selection = selection
        self._state: dict[str, tuple[int, int, int]] = {}

    def assign(self, row: Row) -> UnitId:
        """Return the unit of the next pair that has an edit to export."""
        num_bytes = pair_bytes(row) * len(self._selection.directions_of(row))
        index, num_pairs, filled = self._state.get(row["split"], (0, 0, 0))
        is_full = filled + num_bytes > self._max_bytes or num_pairs >= _MAX_UNIT_PAIRS
        if num_pairs and is_full:
            index, num_pairs, filled = index + 1, 0, 0
        self._state[row["split"]] = (index, num_pairs + 1, filled + num_bytes)
        return UnitId(row["split"], index)


@dataclass
class DatasetFacts:
    """What the cards say about the exported pairs; grows with kinds of values, not with pairs."""

    num_pairs: int = 0
    num_edits: int = 0
    """Directions of those pairs that are exported."""
    num_edits_without_instruction: int = 0
    """Edits that are left out, because nobody could say in words what to change."""
    num_image_bytes: int = 0
    pairs_by_split: Counter[str] = field(default_factory=Counter)
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
        self.num_image_bytes += pair_bytes(row)
        self.pairs_by_split[row["split"]] += 1
        self.pairs_by_variation[row["variation_kind"] or "unknown"] += 1
        self.pairs_by_size[row["width"], row["height"]] += 1
        self.sources[
            row["base_model"] or "unknown",
            row["license"] or "unknown",
            row["use_restrictions"] or "unknown",
        ] += 1
        self.content_filters[row["content_filter_version"] or "none"] += 1
        self.reviews[row["review_status"] or "not reviewed"] += 1

    @property
    def common_size_px(self) -> tuple[int, int]:
        """(width, height) that most pairs have."""
        return max(self.pairs_by_size, key=lambda size: (self.pairs_by_size[size], size))


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

    def num_units(self, split: str) -> int:
        """Return how many units a split is cut into."""
        return sum(unit.split == split for unit in self.num_pairs_by_unit)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have pairs, in the order of the selection."""
        return tuple(name for name in self.selection.splits if self.facts.pairs_by_split[name])


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


def pair_bytes(row: Row) -> int:
    """Return the size of both images of a pair as they are stored."""
    return int(row["image_0_bytes"] or 0) + int(row["image_1_bytes"] or 0)


def _nothing_selected(
    store: ObjectStore, snapshot: Snapshot, selection: Selection, facts: DatasetFacts
) -> str:
    if num_edits := facts.num_edits_without_instruction:
        return (
            f"nothing to export: none of the {num_edits} edits has an instruction (the manifest's "
            "column instruction_missing says why); only flf2v needs none"
        )
    text = (
        f"nothing to export: snapshot {snapshot.snapshot_id} of {store.uri} has "
        f"{snapshot.funnel.pairs_kept} kept pairs, none of them in {' or '.join(selection.splits)}"
    )
    if selection.skips_entity_swaps:
        return f"{text} without a swap of entities; --include-entity-swap takes those too"
    return f"{text}; try --split all or another snapshot"
