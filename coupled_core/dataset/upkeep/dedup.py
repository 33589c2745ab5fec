"""Near-duplicates of a finished dataset: the better pair stays, in a new snapshot without a GPU."""

from collections.abc import Sequence

from coupled_core.config import DuplicatesConfig
from coupled_core.dataset.commit.new_duplicates import mark_duplicate
from coupled_core.dataset.duplicates import (
    LOOKS_COLUMNS,
    PairLooks,
    find_duplicates,
    looks_of_rows,
)
from coupled_core.dataset.reader import iter_manifest
from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import RunInfo, Snapshot
from coupled_core.dataset.upkeep.rewrite import Rewrite, RewriteReport, rewrite_rows
from coupled_core.records import RejectReason
from coupled_core.storage.store import ObjectStore

_DECISION = ("kept", "reject_reasons", "review_status", "image_part")
_COLUMNS = tuple(dict.fromkeys((*LOOKS_COLUMNS, *_DECISION)))


def drop_duplicates(
    store: ObjectStore, config: DuplicatesConfig, *, single_writer: bool = False
) -> RewriteReport:
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
    return rewrite_rows(store, rewrite, single_writer=single_writer)


class _Search:
    """Finds duplicates among all rows of a snapshot, then marks them part by part."""

    def __init__(self, store: ObjectStore, config: DuplicatesConfig) -> None:
        self._store, self._config = store, config
        self._duplicate_of: dict[str, str] = {}

    def prepare(self, base: Snapshot) -> bool:
        """Find the duplicates of a snapshot; one pair may change what becomes of any other."""
        settled, open_ = (
            # Two passes over the manifest: looks of both kinds are kept, whole rows never.
            PairLooks.concatenate(
                looks_of_rows(row for row in batch.to_pylist() if are(row))
                for batch in iter_manifest(self._store, base.parts, _COLUMNS)
            )
            for are in (_is_settled, _is_open)
        )
        self._duplicate_of = find_duplicates([settled], open_, self._config)
        # What was decided about a part for an earlier base may be wrong for this one.
        return True

    def change(self, rows: Sequence[Row], _run: RunInfo) -> list[Row]:
        """Return the rows of a part with what was found."""
        return [self._change(row) if _is_open(row) else row for row in rows]

    def _change(self, row: Row) -> Row:
        keeper = self._duplicate_of.get(row["pair_id"])
        if keeper is not None:
            return mark_duplicate(row, keeper)
        # `_is_open` has made sure that nothing but a duplicate spoke against it, and that its
        # images are stored.
        return {**row, "kept": True, "reject_reasons": [], "duplicate_of": None}


def _is_open(row: Row) -> bool:
    """Say whether only duplicates can speak against a pair."""
    is_found = row["reject_reasons"] == [RejectReason.DUPLICATE] and row["image_part"] is not None
    return row["review_status"] is None and (row["kept"] or is_found)


def _is_settled(row: Row) -> bool:
    return row["kept"] and row["review_status"] is not None
