"""Make finished shards visible: verified parts, then the snapshot, then the pointer."""

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from coupled_core.dataset.commit.new_duplicates import DuplicateDropper
from coupled_core.dataset.commit.publish import publish_snapshot
from coupled_core.dataset.funnel import Funnel
from coupled_core.dataset.pair_ids import PairIdSet
from coupled_core.dataset.parts import PublishedShard, publish_shard, verify_part
from coupled_core.dataset.pointer import read_pointer
from coupled_core.dataset.reader import iter_images, iter_manifest, load_snapshot, part_pair_ids
from coupled_core.dataset.snapshot import RunInfo, Snapshot
from coupled_core.errors import DatasetError
from coupled_core.storage.probe import probe_conditional_writes
from coupled_core.storage.store import ObjectStore

_FIRST_SPLIT_RULE = "1"
"""Of runs that did not write it down."""


def what_must_agree(
    config: Mapping[str, Any], metric_version: str | None, split_rule: str | None
) -> dict[str, str | None]:
    """Return what all runs of a dataset must have in common; None: not written down."""
    scoring = config.get("scoring", {})
    return {
        "scoring.clip_model": scoring.get("clip_model"),
        "scoring.sam_model": scoring.get("sam_model"),
        "metric_version": metric_version,
        "split_rule": split_rule or _FIRST_SPLIT_RULE,
    }


def check_comparable(snapshot: Snapshot, facts: Mapping[str, str | None], where: str) -> None:
    """Refuse to add rows that do not go together with those that a dataset holds.

    Args:
        snapshot: What the dataset holds.
        facts: Of the run that wants to add rows, as `what_must_agree` returns them.
        where: Names the dataset.

    Raises:
        DatasetError: naming every setting that differs, and both values.
    """
    for run in snapshot.runs:
        held = what_must_agree(run.config, run.metric_version, run.split_rule)
        differing = [
            f"{key} is {facts[key]!r} here and {held[key]!r} there"
            for key in held
            if facts[key] is not None and held[key] is not None and facts[key] != held[key]
        ]
        if differing:
            raise DatasetError(
                f"{where} holds rows of run {run.run_id} that do not go together with this run's: "
                f"{'; '.join(differing)}. Use these settings there, write to another --output, or "
                "(where only split_rule differs) run `coupled repartition` on the dataset"
            )


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


MAX_ATTEMPTS = 50
"""Of a commit against rivals, each with the dataset as it then is."""
_MAX_PAUSE_SECONDS = 0.5


def ensure_conditional_writes(store: ObjectStore, *, single_writer: bool) -> None:
    """Refuse a store on which two writers could overwrite each other's commits.

    Call it before anything is spent; it costs a handful of small requests.

    Raises:
        DatasetError: the store ignores conditions and no single writer is declared.
    """
    if not single_writer and not probe_conditional_writes(store):
        raise DatasetError(
            f"{store.uri} ignores conditional writes (If-Match, If-None-Match), so two writers "
            "could lose each other's rows: use a store that honours them, or declare with "
            "single_writer that nothing else writes there"
        )


def commit_shards(
    store: ObjectStore,
    shards: Sequence[PublishedShard],
    run: RunInfo,
    *,
    single_writer: bool = False,
) -> Snapshot | None:
    """Add the pairs of finished shards to the dataset.

    When another writer was faster, the commit is rebased on what it wrote. Pairs that are in the
    dataset already are left out, so a twin of a worker, or the same call again, adds nothing. Pairs
    that duplicate others (`duplicates` of the run's settings) are added as dropped ones.

    Args:
        store: The dataset.
        shards: Finished shards of one run.
        run: Who wrote them; its funnel is filled in here.
        single_writer: Nothing else writes here: a store without conditional writes will do.

    Returns:
        The new snapshot; None: every pair was in the dataset already.

    Raises:
        DatasetError: a part is missing or damaged, the store ignores conditions, the dataset holds
            scores that do not compare with these, or other writers won every attempt.
    """
    ensure_conditional_writes(store, single_writer=single_writer)
    facts = what_must_agree(run.config, run.metric_version, run.split_rule)
    pending, dropper = _Pending(store, tuple(shards)), DuplicateDropper(store, run.config)
    for attempt in range(MAX_ATTEMPTS):
        pointer = read_pointer(store)
        base = load_snapshot(store, pointer.snapshot_id) if pointer else None
        if base is not None:
            check_comparable(base, facts, store.uri)
        _check_parts(store, shards, is_first=attempt == 0)
        fresh = pending.without(base)
        if not fresh:
            return None
        snapshot = _follow(base, dropper.drop(fresh, base), run)
        if publish_snapshot(store, snapshot, pointer):
            return snapshot
        pause_before_retry(attempt)
    raise DatasetError(
        f"could not commit run {run.run_id} to {store.uri}: other writers won {MAX_ATTEMPTS} "
        "times; run the command again, the finished shards are kept"
    )


def pause_before_retry(attempt: int) -> None:
    """Let rivals finish; longer after each lost attempt."""
    time.sleep(random.uniform(0, min(_MAX_PAUSE_SECONDS, 0.02 * (attempt + 1))))


def _check_parts(store: ObjectStore, shards: Sequence[PublishedShard], *, is_first: bool) -> None:
    """Check what is about to become visible, after the pointer was read.

    In this order a collection of garbage cannot come between: it moves the pointer before it
    deletes. The content was compared in the first attempt and does not change.
    """
    for part in (part for shard in shards for part in shard.parts):
        if is_first or not store.exists(part.key):
            verify_part(store, part)


class _Pending:
    """The shards of a commit, less what each new base turns out to hold of them."""

    def __init__(self, store: ObjectStore, shards: tuple[PublishedShard, ...]) -> None:
        self._store = store
        self._shards = shards
        self._fresh = shards
        self._seen: frozenset[str] = frozenset()

    def without(self, base: Snapshot | None) -> tuple[PublishedShard, ...]:
        """Return what `base` lacks; of a base that only grew, only the new parts are read."""
        parts = {part.key: part for part in base.parts_of("manifest")} if base else {}
        if not self._seen <= parts.keys():  # somebody rolled back: nothing that we know still holds
            self._fresh, self._seen = self._shards, frozenset()
        unseen = [part for key, part in parts.items() if key not in self._seen]
        committed = PairIdSet(part_pair_ids(self._store, part) for part in unseen)
        trimmed = (trim_shard(self._store, shard, committed) for shard in self._fresh)
        self._fresh = tuple(shard for shard in trimmed if shard is not None)
        self._seen = frozenset(parts)
        return self._fresh


def _follow(base: Snapshot | None, fresh: Sequence[PublishedShard], run: RunInfo) -> Snapshot:
    """Return the snapshot that adds shards to `base`."""
    added = tuple(part for shard in fresh for part in shard.parts)
    funnel = sum((shard.funnel for shard in fresh), Funnel())
    return Snapshot.create(
        parent=base.snapshot_id if base else None,
        runs=_merge_run(base.runs if base else (), run, funnel),
        parts=(base.parts if base else ()) + added,
    )


def _merge_run(runs: tuple[RunInfo, ...], run: RunInfo, added: Funnel) -> tuple[RunInfo, ...]:
    """Count rows for a run that is known already, or append the run."""
    before = next((known.funnel for known in runs if known.run_id == run.run_id), Funnel())
    merged = run.model_copy(update={"funnel": (before + added).check()})
    others = tuple(known for known in runs if known.run_id != run.run_id)
    return (*others, merged)
