"""The last steps of every change: snapshot file, then pointer, until no rival was faster."""

import random
import time
from collections.abc import Callable
from itertools import takewhile

from coupled_core.dataset.commit.landing_page import update_landing_page
from coupled_core.dataset.pointer import Pointer, move_pointer, read_pointer
from coupled_core.dataset.reader import iter_history, load_snapshot
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.errors import ConflictError, DatasetError
from coupled_core.storage.probe import probe_conditional_writes, probe_round_trip
from coupled_core.storage.store import ObjectStore

_MAX_ATTEMPTS = 50
_MAX_PAUSE_SECONDS = 0.5
_PROVEN: set[tuple[str, bool]] = set()
"""Stores that kept their promises to this process, and whether the conditional ones were asked."""


def ensure_conditional_writes(store: ObjectStore, *, single_writer: bool) -> None:
    """Refuse a store that garbles objects, or lets two writers overwrite each other's commits.

    Call it before anything is spent; it costs a dozen small requests, once in the life of a
    process.

    Raises:
        StorageError: the store refuses what we write, or gives back something else.
        DatasetError: it ignores conditions and no single writer is declared.
    """
    # A single writer was never asked for conditions, so its proof does not serve others.
    proof = (store.uri, single_writer)
    if proof in _PROVEN:
        return
    probe_round_trip(store)
    if not single_writer and not probe_conditional_writes(store):
        raise DatasetError(
            f"{store.uri} ignores conditional writes (If-Match, If-None-Match), so two writers "
            "could lose each other's rows: use a store that honours them, or declare with "
            "single_writer that nothing else writes there"
        )
    _PROVEN.add(proof)


def publish_rebased(
    store: ObjectStore,
    follow: Callable[[Snapshot | None], Snapshot | None],
    what: str,
    *,
    single_writer: bool,
) -> Snapshot | None:
    """Publish what follows the current snapshot, and follow the winner's when a rival was faster.

    Args:
        follow: Takes the current snapshot (None: there is none) and returns the one to publish,
            its parts uploaded and verified; None: there is nothing to change. Called anew for each
            attempt, after the pointer was read.
        what: Completes "could not", for the error when rivals win every attempt.
        single_writer: Nothing else writes here: a store without conditional writes will do.

    Returns:
        The snapshot that readers see now; None: there was nothing to change.

    Raises:
        DatasetError: the store ignores conditions, or other writers won every attempt.
    """
    ensure_conditional_writes(store, single_writer=single_writer)
    for attempt in range(_MAX_ATTEMPTS):
        # Read before its snapshot is followed: if it moves from here on, the conditional write
        # below fails, and nothing was built on what is no longer current.
        pointer = read_pointer(store)
        snapshot = follow(load_snapshot(store, pointer.snapshot_id) if pointer else None)
        if snapshot is None:
            return None
        if publish_snapshot(store, snapshot, pointer):
            # After the pointer, for readers must never be told of files that are not published.
            update_landing_page(store, snapshot)
            return snapshot
        # Let rivals finish, longer after each lost attempt.
        time.sleep(random.uniform(0, min(_MAX_PAUSE_SECONDS, 0.02 * (attempt + 1))))
    raise DatasetError(
        f"could not {what}: other writers won {_MAX_ATTEMPTS} times; run the command again, what "
        "is finished is kept"
    )


def publish_snapshot(store: ObjectStore, snapshot: Snapshot, pointer: Pointer | None) -> bool:
    """Make a snapshot the one that readers see.

    Args:
        snapshot: What follows the snapshot that `pointer` names; its parts are there and verified.
        pointer: What was read before the snapshot was made; None: there was none.

    Returns:
        False: another writer was faster, nothing of this snapshot is left.
    """
    # The file first: a pointer to a snapshot that is not there would break every reader. A process
    # that dies between the two leaves a file that nobody names, which `gc` removes.
    _write_file(store, snapshot)
    has_moved = move_pointer(store, pointer, snapshot.snapshot_id, action=snapshot.action)
    if has_moved or _was_current(store, snapshot, pointer):
        return True
    store.delete(snapshot.key)  # the pointer has left the one etag that could have named it
    return False


def _was_current(store: ObjectStore, snapshot: Snapshot, pointer: Pointer | None) -> bool:
    """Say whether a move that seemed lost had worked: its answer got lost, and others went on."""
    base = pointer.snapshot_id if pointer else None
    # Others may have followed our snapshot (then it is an ancestor of theirs), or have rolled back
    # from it (then the pointer names it as the previous one).
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
