"""Take pairs out of a finished shard that another run has committed meanwhile."""

from collections.abc import Iterator
from typing import Any

from coupled_core.dataset.pair_ids import PairIdSet
from coupled_core.dataset.parts import PublishedShard, publish_shard
from coupled_core.dataset.reader import iter_images, iter_manifest, part_pair_ids
from coupled_core.storage.store import ObjectStore


def trim_shard(
    store: ObjectStore, shard: PublishedShard, committed: PairIdSet
) -> PublishedShard | None:
    """Return the shard without committed pairs: itself, a smaller one, or None if nothing is left.

    The common cases cost one read of a column: nothing overlaps, or everything does because a twin
    of this worker was faster. Parts are written anew only when two different runs shared pairs.
    """
    manifest = [part for part in shard.parts if part.kind == "manifest"]
    ids = [pair_id for part in manifest for pair_id in part_pair_ids(store, part)]
    taken = committed.contains(ids)
    if taken.all():
        return None
    if not taken.any():
        return shard
    fresh = {pair_id for pair_id, is_taken in zip(ids, taken, strict=True) if not is_taken}
    dropped = iter_images(store, shard.parts, kind="dropped")
    return publish_shard(
        store,
        [row for row in _rows(iter_manifest(store, shard.parts)) if row["pair_id"] in fresh],
        (row for row in _rows(iter_images(store, shard.parts)) if row["pair_id"] in fresh),
        dropped_rows=(row for row in _rows(dropped) if row["pair_id"] in fresh),
        run_id=shard.run_id,
        shard_index=shard.shard_index,
    )


def _rows(batches: Iterator[Any]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        yield from batch.to_pylist()
