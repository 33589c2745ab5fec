"""The last two steps of every change: the snapshot file, then the pointer."""

from itertools import takewhile

from coupled_core.dataset.pointer import Pointer, move_pointer, read_pointer
from coupled_core.dataset.reader import iter_history
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.errors import ConflictError
from coupled_core.storage.store import ObjectStore


def publish_snapshot(store: ObjectStore, snapshot: Snapshot, pointer: Pointer | None) -> bool:
    """Make a snapshot the one that readers see.

    Args:
        store: The dataset; every part of the snapshot is there and verified.
        snapshot: What follows the snapshot that `pointer` names.
        pointer: As it was read before the snapshot was made; None: there was none.

    Returns:
        False: another writer was faster, nothing of this snapshot is left.
    """
    _write_file(store, snapshot)
    if move_pointer(store, pointer, snapshot.snapshot_id, action=snapshot.action):
        return True
    if _was_current(store, snapshot, pointer):
        return True
    store.delete(snapshot.key)  # the pointer has left the one etag that could have named it
    return False


def _was_current(store: ObjectStore, snapshot: Snapshot, pointer: Pointer | None) -> bool:
    """Say whether a move that seemed lost had worked: its answer got lost, and others went on."""
    base = pointer.snapshot_id if pointer else None
    since = takewhile(lambda each: each.snapshot_id != base, iter_history(store))
    if any(each.snapshot_id == snapshot.snapshot_id for each in since):
        return True
    found = read_pointer(store)
    return found is not None and found.previous == snapshot.snapshot_id


def _write_file(store: ObjectStore, snapshot: Snapshot) -> None:
    data = snapshot.to_bytes()
    try:
        store.write_if_absent(snapshot.key, data)
    except ConflictError:
        # A lost answer makes the client send a write again, which then meets its own first copy.
        if not store.exists(snapshot.key) or store.read(snapshot.key) != data:
            raise
