"""The states of a dataset: all that are there, what differs between two, and the way back."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from coupled_core.dataset.commit.landing_page import update_landing_page
from coupled_core.dataset.parts import PartInfo
from coupled_core.dataset.pointer import move_pointer, read_pointer
from coupled_core.dataset.reader import (
    find_snapshot,
    iter_manifest,
    iter_rows,
    list_snapshot_files,
    load_snapshot,
)
from coupled_core.dataset.snapshot import RunInfo, Snapshot
from coupled_core.errors import ConflictError, DatasetError
from coupled_core.storage.store import ObjectStore


@dataclass(frozen=True)
class SnapshotSummary:
    """One snapshot in a list."""

    snapshot_id: str
    state: str = "aside"
    """current; history (the current one follows from it); aside (a rollback left it, or its writer
    died before the pointer moved); damaged."""
    parent: str | None = None
    """The snapshot that it followed."""
    created_at: datetime | None = None
    """UTC; None where the file is damaged."""
    action: str = ""
    """What made it."""
    details: dict[str, Any] | None = None
    run_ids: tuple[str, ...] = ()
    """Runs with rows in it."""
    num_rows: int = 0
    num_kept: int = 0
    num_parts: int = 0
    size_bytes: int = 0
    """Size of its parts, which other snapshots may share."""
    damage: str | None = None
    """What is wrong with the file."""


def list_snapshots(store: ObjectStore) -> list[SnapshotSummary]:
    """Return every snapshot of a dataset, newest first; one file is in memory at a time."""
    pointer = read_pointer(store)
    found = {name: _describe(store, name) for name in list_snapshot_files(store)}
    name, state = pointer.snapshot_id if pointer else None, "current"
    # A damaged file does not say what it followed, so the history that is known ends there.
    while name in found:
        if found[name].damage is None:
            found[name] = replace(found[name], state=state)
        name, state = found[name].parent, "history"
    return sorted(found.values(), key=_age_rank, reverse=True)


def _age_rank(summary: SnapshotSummary) -> tuple[str, str]:
    """Sort by the second in the id, then by the exact time, which damaged files do not tell."""
    second = summary.snapshot_id.partition("-")[0]
    return second, summary.created_at.isoformat() if summary.created_at else ""


def _describe(store: ObjectStore, name: str) -> SnapshotSummary:
    try:
        snapshot = load_snapshot(store, name)
    except DatasetError as error:
        return SnapshotSummary(name, state="damaged", damage=str(error))
    return SnapshotSummary(
        snapshot_id=name,
        parent=snapshot.parent,
        created_at=snapshot.created_at,
        action=snapshot.action,
        details=snapshot.details,
        run_ids=snapshot.run_ids,
        num_rows=sum(part.num_rows for part in snapshot.parts_of("manifest")),
        num_kept=snapshot.funnel.pairs_kept,
        num_parts=len(snapshot.parts),
        size_bytes=sum(part.size_bytes for part in snapshot.parts),
    )


def roll_back(store: ObjectStore, name: str) -> tuple[Snapshot, str]:
    """Let readers see another snapshot of the dataset.

    Reversible: the snapshot that was current stays, and `name="previous"` returns to it. What a
    rival commits meanwhile is never taken away unseen: then nothing is changed.

    Args:
        name: An id or another name that `find_snapshot` knows.

    Returns:
        The snapshot that is current now, and the id of the one that was.

    Raises:
        ConfigError: the name means no snapshot.
        ConflictError: another writer moved the pointer meanwhile.
        DatasetError: the snapshot or one of its parts is gone or damaged, or it is being deleted.
    """
    pointer = read_pointer(store)
    # The pointer is read before the target is chosen and checked: the move below fails if anything
    # was published since.
    target = find_snapshot(store, name)
    if pointer is None:
        raise ConflictError(f"another writer made the first snapshot of {store.uri}: look again")
    if target.snapshot_id == pointer.snapshot_id:
        return target, pointer.snapshot_id
    if target.snapshot_id in pointer.removing:
        raise DatasetError(
            f"snapshot {target.snapshot_id} of {store.uri} is being deleted by `coupled gc`: "
            "return to another one"
        )
    _check_parts(store, target)
    if not move_pointer(store, pointer, target.snapshot_id, action="rollback"):
        raise ConflictError(
            f"{store.uri} was changed by another writer since snapshot {pointer.snapshot_id} was "
            "read, nothing was rolled back: look at `coupled snapshots` and try again"
        )
    update_landing_page(store, target)
    return target, pointer.snapshot_id


def _check_parts(store: ObjectStore, snapshot: Snapshot) -> None:
    """Check that all parts are there, from one listing a folder; `verify` checks their content."""
    # One listing a folder instead of one request a part, of which there may be thousands.
    folders = {part.key.partition("/")[0] for part in snapshot.parts}
    sizes = {info.key: info.size_bytes for name in folders for info in store.list(f"{name}/")}
    for part in snapshot.parts:
        found = sizes.get(part.key)
        if found != part.size_bytes:
            raise DatasetError(
                f"cannot return to snapshot {snapshot.snapshot_id}: its part {part.key} has "
                f"{'no' if found is None else found} bytes, expected {part.size_bytes}"
            )


_COLUMNS = ("pair_id", "kept", "reject_reasons", "status", "review_status")
Change = tuple[str, "PairState | None", "PairState | None"]
"""Id of a pair, what was decided before, and after; None: the pair is not there."""


class PairState(NamedTuple):
    """What a snapshot says about a pair."""

    kept: bool
    reasons: tuple[str, ...]
    status: str
    review: str | None


@dataclass(frozen=True)
class SnapshotDiff:
    """How to come from one snapshot to another."""

    before: str
    after: str
    num_added: int
    """Rows that only the second has."""
    num_removed: int
    """Rows that only the first has."""
    num_now_kept: int
    """Pairs of both that only the second keeps."""
    num_now_dropped: int
    """Pairs of both that only the first keeps."""
    num_other_reasons: int
    """Pairs that neither or both keep, for other reasons or with another review."""
    examples: tuple[Change, ...]
    """The first of them, in the order of their ids."""
    settings: Mapping[str, tuple[list[Any], list[Any]]]
    """Values of each setting over the runs of either, where they differ; `filter.*` as of the last
    re-cut."""

    @property
    def num_changes(self) -> int:
        """Rows that differ in any way."""
        decided = self.num_now_kept + self.num_now_dropped + self.num_other_reasons
        return self.num_added + self.num_removed + decided


def diff_snapshots(
    store: ObjectStore, before: Snapshot, after: Snapshot, *, max_examples: int = 20
) -> SnapshotDiff:
    """Compare two snapshots; parts that both name are not read, as parts never change."""
    shared = {part.key for part in before.parts} & {part.key for part in after.parts}
    old = _pair_states(store, (part for part in before.parts if part.key not in shared))
    new = _pair_states(store, (part for part in after.parts if part.key not in shared))
    changes = list(_changes(old, new))
    common = [(a, b) for _, a, b in changes if a is not None and b is not None]
    return SnapshotDiff(
        before=before.snapshot_id,
        after=after.snapshot_id,
        num_added=sum(a is None for _, a, _ in changes),
        num_removed=sum(b is None for _, _, b in changes),
        num_now_kept=sum(b.kept and not a.kept for a, b in common),
        num_now_dropped=sum(a.kept and not b.kept for a, b in common),
        num_other_reasons=sum(a.kept == b.kept for a, b in common),
        examples=tuple(changes[:max_examples]),
        settings=_differing_settings(before.runs, after.runs),
    )


def _pair_states(store: ObjectStore, parts: Iterable[PartInfo]) -> dict[str, PairState]:
    known: dict[PairState, PairState] = {}  # a handful of objects serve all rows
    found: dict[str, PairState] = {}
    for row in iter_rows(iter_manifest(store, parts, _COLUMNS)):
        reasons = tuple(row["reject_reasons"])
        state = PairState(row["kept"], reasons, row["status"], row["review_status"])
        found[row["pair_id"]] = known.setdefault(state, state)
    return found


def _changes(old: Mapping[str, PairState], new: Mapping[str, PairState]) -> Iterator[Change]:
    for pair_id in sorted(old.keys() | new.keys()):
        before, after = old.get(pair_id), new.get(pair_id)
        if before != after:
            yield pair_id, before, after


def _differing_settings(
    before: Iterable[RunInfo], after: Iterable[RunInfo]
) -> dict[str, tuple[list[Any], list[Any]]]:
    old, new = _settings(before), _settings(after)
    return {
        key: (old.get(key, []), new.get(key, []))
        for key in sorted(old.keys() | new.keys())
        if old.get(key, []) != new.get(key, [])
    }


def _settings(runs: Iterable[RunInfo]) -> dict[str, list[Any]]:
    """Return every value that a setting has in the runs, by dotted name, without repeats."""
    found: dict[str, list[Any]] = defaultdict(list)
    for run in runs:
        config = {**run.config, "filter": run.thresholds, "metric_version": run.metric_version}
        for key, value in _flatten(config):
            if value not in found[key]:
                found[key].append(value)
    # By repr, because values of several types (None, numbers, texts) do not compare.
    return {key: sorted(values, key=repr) for key, values in found.items()}


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield prefix, value
        return
    for key, inner in value.items():
        yield from _flatten(inner, f"{prefix}.{key}" if prefix else key)
