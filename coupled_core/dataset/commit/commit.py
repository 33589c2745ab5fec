"""Make finished shards visible: verified parts, then the snapshot, then the pointer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from coupled_core.dataset.commit.extend_index import extend_index
from coupled_core.dataset.commit.new_duplicates import DuplicateDropper
from coupled_core.dataset.commit.publish import publish_rebased
from coupled_core.dataset.commit.upload import UploadedShard, read_shard, upload_shard, verify_part
from coupled_core.dataset.funnel import Funnel
from coupled_core.dataset.reader import iter_manifest
from coupled_core.dataset.row_index import PartRows, RowIndex, open_index, pair_ids_of
from coupled_core.dataset.snapshot import RunInfo, Snapshot, stores_background
from coupled_core.errors import DatasetError
from coupled_core.id_set import IdSet
from coupled_core.storage.store import ObjectStore

_NEARLY_EQUAL = frozenset({"1", "2", "3", "4"})
"""Metric versions that give the same scores to some images, as `scoring.metrics` says."""
_MASK_SIDES_PX = {"miniature": 64}
"""By Segment Anything model: the longer side of the images whose masks it gives in their size."""
AreLong = Callable[[Sequence[str]], bool]
"""Says whether CLIP does not read one of these prompts at once."""
_FIRST_PARTITION_RULE = "1"
"""What runs followed that did not write it down."""


def commit_shards(
    store: ObjectStore,
    shards: Sequence[UploadedShard],
    run: RunInfo,
    *,
    single_writer: bool = False,
) -> Snapshot | None:
    """Add the pairs of finished shards to the dataset.

    When another writer was faster, the commit is rebased on what it wrote. Pairs that are in the
    dataset already are left out, so a twin of a worker, or the same call again, adds nothing. Pairs
    that duplicate others (`duplicates` of the run's settings) are added as dropped ones.

    Args:
        shards: Finished shards of one run.
        run: Who wrote them; its funnel is filled in here.
        single_writer: Nothing else writes here: a store without conditional writes will do.

    Returns:
        The new snapshot; None: every pair was in the dataset already.

    Raises:
        DatasetError: a part is missing or damaged, the store ignores conditions, the dataset holds
            scores that do not compare with these, or other writers won every attempt.
    """
    commit = _Commit(store, tuple(shards), run)
    what = f"commit run {run.run_id} to {store.uri}"
    return publish_rebased(store, commit.follow, what, single_writer=single_writer)


def what_must_agree(
    config: Mapping[str, Any], metric_version: str | None, partition_rule: str | None
) -> dict[str, str | None]:
    """Return what all runs of a dataset must have in common; None: not written down."""
    scoring = config.get("scoring", {})
    return {
        "scoring.clip_model": scoring.get("clip_model"),
        "scoring.sam_model": scoring.get("sam_model"),
        # Not written down where it has its default.
        "scoring.dtype": scoring.get("dtype", "float32"),
        "metric_version": metric_version,
        "partition_rule": partition_rule or _FIRST_PARTITION_RULE,
        # All image parts of a dataset have the same columns: not every reader unites them by name.
        "output.store_background": str(stores_background(config)),
    }


def check_comparable(
    store: ObjectStore,
    snapshot: Snapshot,
    facts: Mapping[str, str | None],
    are_long: AreLong | None = None,
) -> None:
    """Refuse to add rows that do not go together with those that a dataset holds.

    Args:
        facts: What `what_must_agree` returns for the run that wants to add rows.
        are_long: Tells prompts that versions before 3 scored by their beginning. None: that was
            looked at before.

    Raises:
        DatasetError: naming every setting that differs, and both values.
    """
    versions = {run.metric_version for run in snapshot.runs} | {facts["metric_version"]}
    if versions <= _NEARLY_EQUAL and (
        len(versions) == 1
        or not _holds_other_scores(store, snapshot, are_long, is_4_among_them="4" in versions)
    ):
        # None takes a setting out of the comparison: these versions agree about all rows that are
        # there.
        facts = {**facts, "metric_version": None}
    for run in snapshot.runs:
        held = what_must_agree(run.config, run.metric_version, run.partition_rule)
        differing = [
            f"{key} is {facts[key]!r} here and {held[key]!r} there"
            for key in held
            if facts[key] is not None and held[key] is not None and facts[key] != held[key]
        ]
        if differing:
            raise DatasetError(
                f"{store.uri} holds rows of run {run.run_id} that do not go together with this "
                f"run's: {'; '.join(differing)}. Use these settings there, write to another "
                "--output, or (where only partition_rule differs) run `coupled repartition` on the "
                "dataset"
            )


def _holds_other_scores(
    store: ObjectStore, snapshot: Snapshot, are_long: AreLong | None, *, is_4_among_them: bool
) -> bool:
    """Say whether a dataset holds scores that its version of the metric alone gives."""
    columns = ("metric_version", "sam_model", "width", "height", "prompt_0", "prompt_1")
    # Asked only where versions differ, so whole datasets are seldom read here.
    for batch in iter_manifest(store, snapshot.parts, columns):
        before_4 = [row for row in batch.to_pylist() if row["metric_version"] in ("1", "2", "3")]
        # Version 4 tells entities at the size of Segment Anything's masks, those before at the
        # image's.
        if is_4_among_them and not all(map(_has_size_of_masks, before_4)):
            return True
        # Version 2 changed what CLIP sees of images that are not square, version 3 what it reads of
        # long prompts.
        rows = [row for row in before_4 if row["metric_version"] != "3"]
        if any(row["metric_version"] == "1" and row["width"] != row["height"] for row in rows):
            return True
        prompts = [row[name] for row in rows for name in ("prompt_0", "prompt_1")]
        if are_long is not None and prompts and are_long(prompts):
            return True
    return False


def _has_size_of_masks(row: Mapping[str, Any]) -> bool:
    """Say whether a row's images are as large as the masks of its model; true without images."""
    sides = row["width"], row["height"]
    return None in sides or max(sides) == _MASK_SIDES_PX.get(row["sam_model"])


class _Commit:
    """The shards of a commit, less what each new base turns out to hold of them."""

    def __init__(self, store: ObjectStore, shards: tuple[UploadedShard, ...], run: RunInfo) -> None:
        self._store, self._shards, self._run = store, shards, run
        # Lives as long as the commit: a part that was read for a lost attempt is not read again.
        self._rows = PartRows(store)
        self._dropper = DuplicateDropper(store, run.config, self._rows)
        self._has_verified = False
        self._fresh = shards
        self._seen: frozenset[str] = frozenset()
        """Manifest parts whose pairs are taken out of `_fresh` already."""

    def follow(self, base: Snapshot | None) -> Snapshot | None:
        """Return the snapshot that adds what `base` lacks; None: it lacks nothing."""
        run = self._run
        if base is not None:
            facts = what_must_agree(run.config, run.metric_version, run.partition_rule)
            # Again with each base: a rival may have published the first rows since the run began.
            check_comparable(self._store, base, facts)
        self._check_parts()
        # The pairs of the base are taken out before duplicates are looked for, or each pair would
        # duplicate itself.
        with open_index(self._store, base, self._rows) as index:
            self._take_out(base, index)
            if not self._fresh:
                return None
            fresh = self._dropper.drop(self._fresh, index)
            parts = (base.parts if base else ()) + tuple(p for each in fresh for p in each.parts)
            return Snapshot.create(
                parent=base.snapshot_id if base else None,
                runs=_merge_run(
                    base.runs if base else (), run, sum((s.funnel for s in fresh), Funnel())
                ),
                parts=parts,
                index=extend_index(self._store, index, self._rows, parts),
            )

    def _check_parts(self) -> None:
        """Check what is about to become visible, after the pointer was read.

        In this order a collection of garbage cannot come between: it moves the pointer before it
        deletes. The content is compared once, since it does not change.
        """
        for part in (part for shard in self._shards for part in shard.parts):
            if not self._has_verified or not self._store.exists(part.key):
                verify_part(self._store, part)
        self._has_verified = True

    def _take_out(self, base: Snapshot | None, index: RowIndex) -> None:
        """Take out the pairs of `base`."""
        parts = {part.key for part in base.parts_of("manifest")} if base else set()
        if not self._seen <= parts:  # somebody rolled back: nothing that we know still holds
            self._fresh = self._shards
        # Against the whole base even if it only grew: ids are compared in memory, and a rival's
        # part may hold pairs of any of our shards.
        committed = index.pair_ids()
        trimmed = (self._trim(shard, committed) for shard in self._fresh)
        self._fresh = tuple(shard for shard in trimmed if shard is not None)
        self._seen = frozenset(parts)

    def _trim(self, shard: UploadedShard, committed: IdSet) -> UploadedShard | None:
        """Return the shard without committed pairs: itself, a smaller one, or None: none is left.

        In the common cases nothing overlaps, or everything does because a twin of this worker was
        faster. Parts are written anew only when two different runs shared pairs.
        """
        ids = pair_ids_of(self._rows.read(shard.parts))
        taken = committed.contains(ids)
        if taken.all():
            return None
        if not taken.any():
            return shard
        left = IdSet(packed=[ids[~taken]])
        # A generator: `upload_shard` takes one pair at a time, with its images.
        pairs = (pair for pair in read_shard(self._store, shard) if pair[0]["pair_id"] in left)
        return upload_shard(self._store, pairs, run_id=shard.run_id, shard_index=shard.shard_index)


def _merge_run(runs: tuple[RunInfo, ...], run: RunInfo, added: Funnel) -> tuple[RunInfo, ...]:
    """Count rows for a run that is known already, or append the run."""
    # A run that was interrupted, or whose shards failed, commits more than once.
    before = next((known.funnel for known in runs if known.run_id == run.run_id), Funnel())
    merged = run.model_copy(update={"funnel": (before + added).check()})
    others = tuple(known for known in runs if known.run_id != run.run_id)
    return (*others, merged)
