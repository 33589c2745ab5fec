"""The commit's last look at new pairs: those that duplicate another stay rows, but are not kept."""

from collections.abc import Mapping, Sequence
from typing import Any

from coupled_core.config import DuplicatesConfig, OutputConfig
from coupled_core.dataset.commit.upload import UploadedShard, read_shard, upload_shard
from coupled_core.dataset.duplicates import find_duplicates
from coupled_core.dataset.row_index import PartRows, RowIndex, looks_of
from coupled_core.dataset.rows import Row
from coupled_core.filters import order_reasons
from coupled_core.records import RejectReason
from coupled_core.storage.store import ObjectStore


class DuplicateDropper:
    """Drops near-duplicates from the shards of one commit, attempt after attempt.

    Each attempt decides anew from what the shards and the dataset then hold, so a rival's pairs
    count, too.
    """

    def __init__(self, store: ObjectStore, run_config: Mapping[str, Any], rows: PartRows) -> None:
        """Take the settings of the run from what the snapshot will say about it.

        Args:
            rows: Reads the parts of the shards.
        """
        self._store, self._rows = store, rows
        # Runs of early versions have no such settings: nothing is dropped then.
        given = run_config.get("duplicates")
        self._config = None if given is None else DuplicatesConfig.model_validate(given)
        output = OutputConfig.model_validate(run_config.get("output", {}))
        self._stores_dropped = output.store_dropped

    def drop(self, shards: Sequence[UploadedShard], index: RowIndex) -> tuple[UploadedShard, ...]:
        """Return the shards; those with duplicates are written anew.

        Args:
            shards: Shards of one run, without pairs that the dataset holds.
        """
        if self._config is None or not self._config.drop:
            return tuple(shards)
        # All shards of the commit at once, since duplicates may be in different ones.
        new = looks_of(self._rows.read(part for shard in shards for part in shard.parts))
        found = find_duplicates(index.iter_looks(), new, self._config)
        return tuple(self._without(shard, found) for shard in shards) if found else tuple(shards)

    def _without(self, shard: UploadedShard, duplicate_of: Mapping[str, str]) -> UploadedShard:
        # From the rows that are in memory already: most shards have no duplicate, and are not read.
        ids = looks_of(self._rows.read(shard.parts)).pair_ids.tolist()
        if duplicate_of.keys().isdisjoint(each.decode() for each in ids):
            return shard
        pairs = (
            self._mark(row, images, duplicate_of.get(row["pair_id"]))
            for row, images in read_shard(self._store, shard)
        )
        return upload_shard(self._store, pairs, run_id=shard.run_id, shard_index=shard.shard_index)

    def _mark(self, row: Row, images: Row | None, keeper: str | None) -> tuple[Row, Row | None]:
        """Return a pair as it stands beside the one that it duplicates; None: it duplicates none.

        Images of a pair that is dropped now move over to those of dropped ones, or go.
        """
        if keeper is None:
            return row, images
        return mark_duplicate(row, keeper), images if self._stores_dropped else None


def mark_duplicate(row: Row, keeper: str | None) -> Row:
    """Return the row of a pair that duplicates `keeper`; None: it duplicates none."""
    if keeper is None:
        return row
    reasons = order_reasons([*row["reject_reasons"], RejectReason.DUPLICATE])
    return {**row, "kept": False, "reject_reasons": reasons, "duplicate_of": keeper}
