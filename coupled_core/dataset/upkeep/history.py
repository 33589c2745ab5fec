"""Every snapshot that a dataset still has, and how people name one."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from coupled_core.dataset.pointer import Pointer, move_pointer, read_pointer
from coupled_core.dataset.reader import load_snapshot
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.errors import ConfigError, ConflictError, DatasetError
from coupled_core.storage.store import ObjectStore

_FOLDER, _SUFFIX = "snapshots/", ".json"


@dataclass(frozen=True)
class SnapshotFacts:
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
    """Of its parts, which other snapshots may share."""
    damage: str | None = None
    """What is wrong with the file."""


def iter_snapshot_ids(store: ObjectStore) -> Iterator[str]:
    """Yield the id of every snapshot file, oldest first."""
    for info in store.list(_FOLDER):
        if info.key.endswith(_SUFFIX):
            yield info.key.removeprefix(_FOLDER).removesuffix(_SUFFIX)


def list_snapshots(store: ObjectStore) -> list[SnapshotFacts]:
    """Return every snapshot of a dataset, newest first; one file is in memory at a time."""
    pointer = read_pointer(store)
    found = {name: _describe(store, name) for name in iter_snapshot_ids(store)}
    name, state = pointer.snapshot_id if pointer else None, "current"
    while name in found:
        if found[name].damage is None:
            found[name] = replace(found[name], state=state)
        name, state = found[name].parent, "history"
    return sorted(found.values(), key=_age_rank, reverse=True)


def find_snapshot(store: ObjectStore, name: str) -> Snapshot:
    """Return the snapshot that a person means.

    Args:
        store: The dataset.
        name: An id or the beginning of one, "current", "parent" (what current followed) or
            "previous" (what the pointer named before it was last moved).

    Raises:
        ConfigError: none or several are meant.
        DatasetError: the dataset is empty, or the snapshot is damaged.
    """
    pointer = read_pointer(store)
    if pointer is None:
        raise DatasetError(f"{store.uri} holds no dataset: build one with `coupled build`")
    if name == "current":
        return load_snapshot(store, pointer.snapshot_id)
    return load_snapshot(store, _resolve(store, pointer, name))


def _resolve(store: ObjectStore, pointer: Pointer, name: str) -> str:
    if name in ("parent", "previous"):
        parent = load_snapshot(store, pointer.snapshot_id).parent
        found = parent if name == "parent" else pointer.previous
        if found is None:
            why = "is the first" if name == "parent" else "is the only one that readers have seen"
            raise ConfigError(
                f"there is no {name} snapshot: {pointer.snapshot_id}, the current one, {why}; "
                f"name another of `coupled snapshots --dataset {store.uri}`"
            )
        return found
    matches = [each for each in iter_snapshot_ids(store) if each.startswith(name)]
    if len(matches) != 1:
        raise ConfigError(
            f"{len(matches) or 'no'} snapshots begin with {name!r}: expected current, parent, "
            f"previous, or the beginning of one id of `coupled snapshots --dataset {store.uri}`"
        )
    return matches[0]


def _age_rank(facts: SnapshotFacts) -> tuple[str, str]:
    """Sort by the second in the id, then by the exact time, which damaged files do not tell."""
    second = facts.snapshot_id.partition("-")[0]
    return second, facts.created_at.isoformat() if facts.created_at else ""


def _describe(store: ObjectStore, name: str) -> SnapshotFacts:
    try:
        snapshot = load_snapshot(store, name)
    except DatasetError as error:
        return SnapshotFacts(name, state="damaged", damage=str(error))
    return SnapshotFacts(
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
        store: The dataset.
        name: As for `history.find_snapshot`.

    Returns:
        The snapshot that is current now, and the id of the one that was.

    Raises:
        ConfigError: the name means no snapshot.
        ConflictError: another writer moved the pointer meanwhile.
        DatasetError: the snapshot or one of its parts is gone or damaged, or it is being deleted.
    """
    pointer = read_pointer(store)
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
    return target, pointer.snapshot_id


def _check_parts(store: ObjectStore, snapshot: Snapshot) -> None:
    """Check that all parts are there, from one listing a folder; `verify` checks their content."""
    folders = {part.key.partition("/")[0] for part in snapshot.parts}
    sizes = {info.key: info.size_bytes for name in folders for info in store.list(f"{name}/")}
    for part in snapshot.parts:
        found = sizes.get(part.key)
        if found != part.size_bytes:
            raise DatasetError(
                f"cannot return to snapshot {snapshot.snapshot_id}: its part {part.key} has "
                f"{'no' if found is None else found} bytes, expected {part.size_bytes}"
            )
