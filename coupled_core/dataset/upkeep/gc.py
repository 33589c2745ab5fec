"""Remove what nothing names any more: first a plan, which changes nothing, then the removal."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from itertools import chain

from coupled_core.config import Retention
from coupled_core.dataset.commit.upload import UploadedShard, read_uploaded
from coupled_core.dataset.own_keys import (
    PART_FOLDERS,
    PROBE_PREFIX,
    REPORT_FOLDER,
    is_own_key,
    is_own_unfinished,
    snapshot_of_report,
)
from coupled_core.dataset.pointer import POINTER_KEY, Pointer, move_pointer, read_pointer
from coupled_core.dataset.reader import list_snapshot_files, load_snapshot, part_pair_ids
from coupled_core.dataset.row_index import committed_pair_ids
from coupled_core.dataset.snapshot import SNAPSHOT_FOLDER, Snapshot, snapshot_key
from coupled_core.dataset.work import DONE, LEASES, WORK_FOLDER, WorkFolder, parse_work_key
from coupled_core.errors import ConflictError, DatasetError
from coupled_core.id_set import IdSet
from coupled_core.progress import current_progress
from coupled_core.storage.store import ObjectInfo, ObjectStore

_LEAST_GRACE = timedelta(hours=2)
"""Writers take up nothing that is an hour old: see `upload.settle_name`."""
_OUR_FOLDERS = (*PART_FOLDERS, SNAPSHOT_FOLDER, REPORT_FOLDER, WORK_FOLDER)


class Garbage(StrEnum):
    """Why an object goes."""

    SNAPSHOT = "snapshot"
    REPORT = "report of a removed snapshot"
    PART = "part that nothing names"
    FINISHED_WORK = "finished work"
    ABANDONED_WORK = "abandoned work"
    DEAD_LEASE = "lease of a process that is gone"
    PROBE = "probe"
    UNFINISHED_WRITE = "unfinished write"


@dataclass(frozen=True)
class Removal:
    """One object that goes."""

    key: str
    size_bytes: int
    why: Garbage
    modified_at: datetime | None = None
    """When it was written, as of the plan."""


@dataclass(frozen=True)
class GarbagePlan:
    """What a collection would remove."""

    pointer: Pointer
    """The state of the dataset that the plan rests on."""
    retained: tuple[str, ...]
    """Snapshots that stay, newest first."""
    snapshots: tuple[str, ...]
    """Snapshots that go."""
    removals: tuple[Removal, ...]
    """In this order: a collection that is killed never leaves a snapshot without its parts."""
    foreign: tuple[str, ...] = ()
    """Keys in folders of the dataset that no writer of ours can have made; they stay."""

    @property
    def size_bytes(self) -> int:
        """Space that becomes free."""
        return sum(removal.size_bytes for removal in self.removals)


def plan_gc(store: ObjectStore, retention: Retention, now: datetime) -> GarbagePlan:
    """Find out what can go, without changing anything.

    Raises:
        DatasetError: there is no current snapshot, one that stays cannot be read, or the pointer
            marks one for removal that readers need: then nobody knows what is garbage.
    """
    pointer = read_pointer(store)
    if pointer is None:
        raise DatasetError(f"{store.uri} has no current snapshot: all of it could be garbage")
    retained, going = _choose_snapshots(store, pointer, retention, now)
    # Before `waiting_parts` is read: the survey of finished shards fills it.
    survey = _WorkSurvey(store, load_snapshot(store, pointer.snapshot_id))
    work = survey.removals(retention, now)
    # Parts of shards that wait for their commit are named by no snapshot yet, and are no garbage.
    named = survey.waiting_parts.union(*(_named_if_there(store, pointer, n) for n in retained))
    until = now - timedelta(hours=retention.grace)
    # Snapshots go before the parts that only they name: a killed collection leaves no snapshot
    # that names a part which is gone.
    removals = [
        *(Removal(info.key, info.size_bytes, Garbage.SNAPSHOT) for info in going.values()),
        *_reports(store, going),
        *_unnamed_parts(store, named, until),
        *work,
        *_select(
            (info for info in store.list_unfinished() if is_own_unfinished(info.key)),
            until,
            Garbage.UNFINISHED_WRITE,
        ),
    ]
    return GarbagePlan(
        pointer, tuple(retained), tuple(going), tuple(removals), tuple(_list_foreign(store))
    )


def collect_garbage(store: ObjectStore, plan: GarbagePlan) -> None:
    """Carry out a plan.

    Snapshots that go are marked in the pointer first, unless it has moved since the plan was made:
    from then on nobody can return to them. Before a part goes, the pointer is read again: what a
    new snapshot names stays, and so does what a writer has written again meanwhile. A removal that
    hangs after that harms nobody: a name as old as this is not taken up again.

    Raises:
        ConflictError: the pointer has moved; nothing was removed.
    """
    pointer = plan.pointer
    marks = tuple(dict.fromkeys((*plan.snapshots, *pointer.removing)))
    if plan.snapshots and not move_pointer(
        store, pointer, pointer.snapshot_id, action="gc", removing=marks
    ):
        raise ConflictError(f"{store.uri} was changed by another writer: run `coupled gc` again")
    progress = current_progress()
    progress.begin("gc", len(plan.removals))
    named = _NamedSince(store, pointer.snapshot_id)
    for removal in plan.removals:
        if removal.why is Garbage.UNFINISHED_WRITE:
            store.delete_unfinished(removal.key)
        # Only parts are named by others. A snapshot that goes was marked above, and work is its
        # run's own.
        elif removal.why is not Garbage.PART or _is_still_garbage(store, removal, named):
            store.delete(removal.key)
        progress.advance("gc")
    # Marks are taken out again when their snapshots are gone; a killed collection leaves them, and
    # the next one finds what it had begun with.
    found = read_pointer(store)
    if found is not None and found.removing:  # a lost race leaves the marks of what is gone
        left = tuple(name for name in found.removing if store.exists(snapshot_key(name)))
        if left != found.removing:
            move_pointer(store, found, found.snapshot_id, action="gc", removing=left)


def _is_still_garbage(store: ObjectStore, removal: Removal, named: "_NamedSince") -> bool:
    # From a listing, because `stat` reads the whole file on a local folder.
    found = next(store.list(removal.key), None)
    is_same = found is not None and found.modified_at == removal.modified_at
    return is_same and removal.key not in named.read()


class _NamedSince:
    """The parts that snapshots name which became current after the plan was made."""

    def __init__(self, store: ObjectStore, snapshot_id: str) -> None:
        self._store, self._seen = store, {snapshot_id}
        self._keys: set[str] = set()

    def read(self) -> set[str]:
        """Return them as of now."""
        pointer = read_pointer(self._store)
        # One small read before each part: a commit that was published meanwhile may have taken it
        # up.
        if pointer is not None and pointer.snapshot_id not in self._seen:
            self._seen.add(pointer.snapshot_id)
            self._keys |= _named_by(self._store, pointer.snapshot_id)
        return self._keys


class _WorkSurvey:
    """All work, and which of it the current snapshot has made superfluous."""

    def __init__(self, store: ObjectStore, current: Snapshot) -> None:
        self.waiting_parts: set[str] = set()
        """Keys of parts that wait for a commit, once `removals` was called."""
        self._store, self._current = store, current
        self._keys = current.object_keys
        self._committed: IdSet | None = None

    def removals(self, retention: Retention, now: datetime) -> list[Removal]:
        """Return what goes, in an order in which a killed collection can be taken up again.

        Raises:
            StorageError: a marker is damaged, so that nobody knows which parts it names.
        """
        runs: dict[str, dict[int | None, list[ObjectInfo]]] = defaultdict(lambda: defaultdict(list))
        probes = []
        for info in self._store.list(WORK_FOLDER):
            if not is_own_key(info.key):
                continue
            if found := parse_work_key(info.key):
                runs[found.run_id][found.shard_index].append(info)
            elif info.key.startswith(PROBE_PREFIX):
                probes.append(info)
        by_grace = (Garbage.FINISHED_WORK, Garbage.DEAD_LEASE, Garbage.PROBE)
        by_hours = now - timedelta(hours=retention.grace)
        until = dict.fromkeys(by_grace, by_hours)
        if (days := retention.abandoned_work) is not None:
            until[Garbage.ABANDONED_WORK] = min(by_hours, now - timedelta(days=days))
        going = [each for run_id in runs for each in self._in_run(run_id, runs[run_id], until)]
        return [*going, *_select(probes, until[Garbage.PROBE], Garbage.PROBE)]

    def _in_run(
        self,
        run_id: str,
        work: Mapping[int | None, list[ObjectInfo]],
        until: Mapping[Garbage, datetime],
    ) -> Iterator[Removal]:
        of_run = work.get(None, [])
        leases = [info for info in of_run if info.key.startswith(f"{WORK_FOLDER}{run_id}/{LEASES}")]
        plan_files = [info for info in of_run if info not in leases]
        # Owners rewrite their beats all the time: where none is young, nobody is at work.
        if all(_is_old(info, until[Garbage.DEAD_LEASE]) for info in leases):
            yield from _select(leases, until[Garbage.DEAD_LEASE], Garbage.DEAD_LEASE)
        else:
            until = {why: when for why, when in until.items() if why is not Garbage.ABANDONED_WORK}
        shards: list[list[Removal]] = []
        # A plan that no shard has begun with may wait for the splitter's answers.
        has_begun = run_id in self._current.run_ids or any(index is not None for index in work)
        why_plan = Garbage.FINISHED_WORK if has_begun else Garbage.ABANDONED_WORK
        for shard_index, objects in work.items():
            if shard_index is not None:
                is_done = self._is_committed(run_id, shard_index)
                why = Garbage.FINISHED_WORK if is_done else Garbage.ABANDONED_WORK
                why_plan = why_plan if is_done else why
                # False sorts before True. As long as the marker is there, the shard counts as
                # finished, and the next collection goes on with what is left of it.
                marker_last = sorted(objects, key=lambda info: info.key.endswith(f"/{DONE}"))
                shards.append(_select_whole(marker_last, until.get(why), why))
        # The plan goes only with all shards: whoever takes up one that stays reads it. An empty
        # list is a shard that stays.
        if all(shards):
            yield from _select_whole(plan_files, until.get(why_plan), why_plan)
        yield from chain.from_iterable(shards)

    def _is_committed(self, run_id: str, shard_index: int) -> bool:
        """Say whether a shard is finished and all its pairs are in the dataset."""
        shard = read_uploaded(WorkFolder(self._store, run_id, shard_index))
        if shard is None:
            return False
        if self._holds(shard):
            return True
        self.waiting_parts.update(part.key for part in shard.parts)
        return False

    def _holds(self, shard: UploadedShard) -> bool:
        """Compare parts first; ids only where a commit or a re-cut wrote the parts anew."""
        if all(part.key in self._keys for part in shard.parts):
            return True
        manifest = (part for part in shard.parts if part.kind == "manifest")
        try:
            ids = [pair_id for part in manifest for pair_id in part_pair_ids(self._store, part)]
        except DatasetError:  # its parts are gone: whoever goes on with the shard finds out
            return False
        # Read once, and only if some shard asks.
        if self._committed is None:
            self._committed = committed_pair_ids(self._store, self._current)
        return bool(self._committed.contains(ids).all())


def _choose_snapshots(
    store: ObjectStore, pointer: Pointer, retention: Retention, now: datetime
) -> tuple[list[str], dict[str, ObjectInfo]]:
    """Return the ids that stay, newest first, and the files of those that go."""
    found = list_snapshot_files(store)
    # By the store's clock, since the clocks of writers in the ids may differ.
    newest = sorted(found, key=lambda name: (found[name].modified_at or now, name), reverse=True)
    # Whatever was asked for, readers of the current state and the way back by `rollback` stay.
    keep = {pointer.snapshot_id, pointer.previous} | {
        name
        for name, info in found.items()
        if not _is_old(info, now - timedelta(hours=retention.grace))
    }
    if retention.keep_snapshots is None and retention.older_than is None:
        keep |= set(newest)
    keep |= set(newest[: retention.keep_snapshots or 0])
    if retention.older_than is not None:
        until = now - timedelta(days=retention.older_than)
        keep |= {name for name, info in found.items() if not _is_old(info, until)}
    keep -= _find_begun(store, pointer, found, now)
    retained = [name for name in newest if name in keep]
    return retained, {name: found[name] for name in newest if name not in keep}


def _find_begun(
    store: ObjectStore, pointer: Pointer, found: Mapping[str, ObjectInfo], now: datetime
) -> set[str]:
    """Return the marked snapshots that a collection which was killed had begun with.

    Marks are taken at their word only where no collection could have been wrong about them. What
    is newer than the current state, or as young as nothing that was ever collected, goes only if
    it is asked for again: its file goes before its parts do, so while it is there, it is whole.

    Raises:
        DatasetError: what readers need is marked, which no collection does.
    """
    if needed := set(pointer.removing) & {pointer.snapshot_id, pointer.previous}:
        raise DatasetError(
            f"{store.uri}/{POINTER_KEY} is damaged: its `removing` names {needed.pop()}, the "
            "current or the previous snapshot, which no collection removes: take it out of there"
        )
    current = found.get(pointer.snapshot_id)
    until = now - _LEAST_GRACE
    if current is not None and current.modified_at is not None:
        until = min(until, current.modified_at)
    return {name for name in pointer.removing if name in found and _is_old(found[name], until)}


def _named_if_there(store: ObjectStore, pointer: Pointer, name: str) -> frozenset[str]:
    """Return the parts of a snapshot that stays; none if its writer lost a race and withdrew it."""
    try:
        return _named_by(store, name)
    except DatasetError:
        is_needed = name in (pointer.snapshot_id, pointer.previous)
        if is_needed or store.exists(snapshot_key(name)):
            raise
        return frozenset()


def _named_by(store: ObjectStore, snapshot_id: str) -> frozenset[str]:
    return load_snapshot(store, snapshot_id).object_keys


def _reports(store: ObjectStore, going: Iterable[str]) -> Iterator[Removal]:
    for name in going:
        for info in store.list(f"{REPORT_FOLDER}{name}/"):
            if snapshot_of_report(info.key) == name:
                yield Removal(info.key, info.size_bytes, Garbage.REPORT)


def _list_foreign(store: ObjectStore) -> Iterator[str]:
    for folder in _OUR_FOLDERS:
        yield from (info.key for info in store.list(folder) if not is_own_key(info.key))


def _unnamed_parts(store: ObjectStore, named: set[str], until: datetime) -> Iterator[Removal]:
    for folder in PART_FOLDERS:
        ours = (info for info in store.list(folder) if is_own_key(info.key))
        unnamed = (info for info in ours if info.key not in named)
        yield from _select(unnamed, until, Garbage.PART)


def _select(infos: Iterable[ObjectInfo], until: datetime, why: Garbage) -> Iterator[Removal]:
    for info in infos:
        if _is_old(info, until):
            yield Removal(info.key, info.size_bytes, why, info.modified_at)


def _select_whole(
    objects: Sequence[ObjectInfo], until: datetime | None, why: Garbage
) -> list[Removal]:
    """Return the objects of a shard, or of a plan, if none of them was written since."""
    if until is None or not all(_is_old(info, until) for info in objects):
        return []
    return list(_select(objects, until, why))


def _is_old(info: ObjectInfo, until: datetime) -> bool:
    # A store that does not say when: as if written now, so that it stays.
    return (info.modified_at or datetime.now(UTC)) < until
