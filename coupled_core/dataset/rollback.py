"""Back to an earlier snapshot, or forward again: the pointer moves, nothing is written or lost."""

from coupled_core.dataset.history import find_snapshot
from coupled_core.dataset.pointer import move_pointer, read_pointer
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.errors import ConflictError, DatasetError
from coupled_core.storage.store import ObjectStore


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
