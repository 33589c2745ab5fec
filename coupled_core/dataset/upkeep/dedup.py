"""Near-duplicates of a finished dataset: the better pair stays, in a new snapshot without a GPU."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from coupled_core.config import DuplicatesConfig
from coupled_core.dataset.commit.new_duplicates import mark_duplicate
from coupled_core.dataset.duplicates import LOOKS_COLUMNS, find_duplicates, read_looks
from coupled_core.dataset.reader import iter_manifest
from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import RunInfo, Snapshot
from coupled_core.dataset.upkeep.rewrite import Rewrite, rewrite_rows
from coupled_core.records import RejectReason
from coupled_core.storage.store import ObjectStore

_COLUMNS = (*LOOKS_COLUMNS, "reject_reasons", "review_status", "image_part")
_ONLY_DUPLICATE = [RejectReason.DUPLICATE.value]


@dataclass(frozen=True)
class DedupReport:
    """What looking for near-duplicates did."""

    snapshot: Snapshot | None
    """None: no decision changed."""
    num_dropped: int
    """Pairs that were kept before."""
    num_kept: int
    """Pairs that were dropped as duplicates before, of a pair that is no longer kept or near."""


def drop_duplicates(
    store: ObjectStore, config: DuplicatesConfig, *, single_writer: bool = False
) -> DedupReport:
    """Decide anew which kept pairs duplicate another, and commit that as a new snapshot.

    Of pairs that duplicate each other the one with the better combined metric stays, whichever run
    made it; a pair that a person has kept stays in any case. Earlier findings are taken back where
    they no longer hold and the pair's images are stored.

    Raises:
        DatasetError: as `rewrite_rows`.
    """
    search = _Search(store, config)
    details = config.model_dump(mode="json", exclude={"drop"})
    rewrite = Rewrite("dedup", details, search.change, prepare=search.prepare)
    snapshot = rewrite_rows(store, rewrite, single_writer=single_writer)
    counts = Counter(search.outcomes.values())
    return DedupReport(snapshot, num_dropped=counts[False], num_kept=counts[True])


class _Search:
    """Finds duplicates among all rows of a snapshot, then marks them part by part."""

    def __init__(self, store: ObjectStore, config: DuplicatesConfig) -> None:
        self.outcomes: dict[str, bool] = {}
        """By pair_id of a pair whose decision changes: whether it is kept now."""
        self._store, self._config = store, config
        self._duplicate_of: dict[str, str] = {}

    def prepare(self, base: Snapshot) -> bool:
        """Find the duplicates of a snapshot; one pair may change what becomes of any other."""
        self.outcomes.clear()
        parts = base.parts_of("manifest")
        settled, open_ = (
            read_looks(iter_manifest(self._store, parts, _COLUMNS), select)
            for select in (_are_settled, _are_open)
        )
        self._duplicate_of = find_duplicates(settled, open_, self._config)
        return True

    def change(self, rows: Sequence[Row], _run: RunInfo) -> list[Row]:
        """Return the rows of a part with what was found."""
        return [self._change(row) if _is_open(row) else row for row in rows]

    def _change(self, row: Row) -> Row:
        keeper = self._duplicate_of.get(row["pair_id"])
        if row["kept"] != (keeper is None):
            self.outcomes[row["pair_id"]] = keeper is None
        if keeper is not None:
            return mark_duplicate(row, keeper)
        return {**row, "kept": True, "reject_reasons": [], "duplicate_of": None}


def _is_open(row: Row) -> bool:
    """Say whether only duplicates can speak against a pair."""
    is_found = row["reject_reasons"] == _ONLY_DUPLICATE and row["image_part"] is not None
    return row["review_status"] is None and (row["kept"] or is_found)


def _are_open(batch: pa.RecordBatch) -> pa.Array:
    return pa.array([_is_open(row) for row in _decisions(batch)], pa.bool_())


def _are_settled(batch: pa.RecordBatch) -> pa.Array:
    rows = _decisions(batch)
    return pa.array([row["kept"] and row["review_status"] is not None for row in rows], pa.bool_())


def _decisions(batch: pa.RecordBatch) -> list[Row]:
    names = ["kept", "reject_reasons", "review_status", "image_part"]
    rows: list[Row] = batch.select(names).to_pylist()
    return rows
