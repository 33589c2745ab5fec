"""The commit's last look at new pairs: those that duplicate another stay rows, but are not kept."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from coupled_core.config import DuplicatesConfig, OutputConfig
from coupled_core.dataset.commit.upload import UploadedShard, upload_shard
from coupled_core.dataset.duplicates import LOOKS_COLUMNS, PairLooks, find_duplicates, read_looks
from coupled_core.dataset.parts import PartInfo
from coupled_core.dataset.reader import iter_images, iter_manifest, iter_rows
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
        rows = list(iter_rows(iter_manifest(self._store, shard.parts)))
        if not any(row["pair_id"] in duplicate_of for row in rows):
            return shard
        images = iter_rows(iter_images(self._store, shard.parts))
        dropped = iter_rows(iter_images(self._store, shard.parts, kind="dropped"))
        # Images of pairs that are dropped now move over to those of dropped ones, or go.
        if self._stores_dropped:
            kept_before = iter_rows(iter_images(self._store, shard.parts))
            gone = (row for row in kept_before if row["pair_id"] in duplicate_of)
            dropped = chain(dropped, gone)
        return upload_shard(
            self._store,
            [mark_duplicate(row, duplicate_of.get(row["pair_id"])) for row in rows],
            (row for row in images if row["pair_id"] not in duplicate_of),
            dropped_rows=dropped,
            run_id=shard.run_id,
            shard_index=shard.shard_index,
        )


def mark_duplicate(row: Row, keeper: str | None) -> Row:
    """Return the row of a pair that duplicates `keeper`; None: it duplicates none."""
    if keeper is None:
        return row
    reasons = order_reasons([*row["reject_reasons"], RejectReason.DUPLICATE])
    return {**row, "kept": False, "reject_reasons": reasons, "duplicate_of": keeper}
