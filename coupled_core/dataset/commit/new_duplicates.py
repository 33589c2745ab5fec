"""The commit's last look at new pairs: those that duplicate another stay rows, but are not kept."""

from collections.abc import Mapping, Sequence
from typing import Any

from coupled_core.config import DuplicatesConfig, OutputConfig
from coupled_core.dataset.commit.upload import UploadedShard, read_shard, upload_shard
from coupled_core.dataset.duplicates import LOOKS_COLUMNS, PairLooks, find_duplicates, read_looks
from coupled_core.dataset.parts import PartInfo
from coupled_core.dataset.reader import iter_manifest, part_pair_ids
from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.filters import order_reasons
from coupled_core.records import RejectReason
from coupled_core.storage.store import ObjectStore


class DuplicateDropper:
    """Drops near-duplicates from the shards of one commit, attempt after attempt.

    Each attempt decides anew from what the shards and the dataset then hold, so a rival's pairs
    count, too; parts that were read before are not read again.
    """

    def __init__(self, store: ObjectStore, run_config: Mapping[str, Any]) -> None:
        """Take the settings of the run from what the snapshot will say about it."""
        self._store = store
        given = run_config.get("duplicates")
        self._config = None if given is None else DuplicatesConfig.model_validate(given)
        output = OutputConfig.model_validate(run_config.get("output", {}))
        self._stores_dropped = output.store_dropped
        self._looks: dict[str, PairLooks] = {}

    def drop(
        self, shards: Sequence[UploadedShard], base: Snapshot | None
    ) -> tuple[UploadedShard, ...]:
        """Return the shards; those with duplicates are written anew.

        Args:
            shards: Shards of one run, without pairs that the dataset holds.
            base: What the dataset holds.
        """
        if self._config is None or not self._config.drop:
            return tuple(shards)
        settled = self._read(base.parts if base else ())
        new = self._read([part for shard in shards for part in shard.parts])
        found = find_duplicates(settled, new, self._config)
        return tuple(self._without(shard, found) for shard in shards) if found else tuple(shards)

    def _read(self, parts: Sequence[PartInfo]) -> PairLooks:
        manifest = [part for part in parts if part.kind == "manifest"]
        for part in manifest:
            if part.key not in self._looks:
                batches = iter_manifest(self._store, [part], LOOKS_COLUMNS)
                self._looks[part.key] = read_looks(batches)
        return PairLooks.concatenate(self._looks[part.key] for part in manifest)

    def _without(self, shard: UploadedShard, duplicate_of: Mapping[str, str]) -> UploadedShard:
        manifest = [part for part in shard.parts if part.kind == "manifest"]
        ids = (pair_id for part in manifest for pair_id in part_pair_ids(self._store, part))
        if duplicate_of.keys().isdisjoint(ids):
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
