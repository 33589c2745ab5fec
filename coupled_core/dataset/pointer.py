"""`current.json`: the one object that ever changes, and the only way to change it."""

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Strict

from coupled_core.documents import parse_json
from coupled_core.errors import ConflictError, DatasetError, NotFoundError
from coupled_core.storage.store import ObjectStore

POINTER_KEY = "current.json"


@dataclass(frozen=True)
class Pointer:
    """What `current.json` says, and the etag that replacing it takes."""

    snapshot_id: str
    etag: str
    previous: str | None = None
    """The snapshot that was current before; None: there was none, or an early version wrote it."""
    removing: tuple[str, ...] = ()
    """Snapshots that a collection of garbage has begun to delete: nobody may return to them."""
    move_id: str | None = None
    """Unique, so that no two states of the pointer are equal, not even of one snapshot."""


class _Content(BaseModel):
    """What the file may say; people read the rest of it."""

    model_config = ConfigDict(strict=True)

    snapshot_id: str
    previous: str | None = None
    removing: Annotated[tuple[str, ...], Strict(False)] = ()
    move_id: str | None = None


def read_pointer(store: ObjectStore) -> Pointer | None:
    """Return the pointer; None: nothing was ever committed here.

    Raises:
        DatasetError: the pointer is damaged.
    """
    try:
        data, etag = store.read_with_etag(POINTER_KEY)
    except NotFoundError:
        return None
    try:
        said = _Content.model_validate(parse_json(data))
    except ValueError as error:
        raise DatasetError(
            f"{store.uri}/{POINTER_KEY} is damaged: expected JSON with snapshot_id; put it back by "
            f"naming one of snapshots/ in it"
        ) from error
    return Pointer(etag=etag, **said.model_dump())


def move_pointer(
    store: ObjectStore,
    pointer: Pointer | None,
    snapshot_id: str,
    *,
    action: str,
    removing: tuple[str, ...] | None = None,
) -> bool:
    """Let readers see another snapshot, unless the pointer has moved since it was read.

    Every move is a new state with a name of its own. So a pointer that was moved away and back does
    not pass for the one that was read, and a write whose answer was lost is told from a rival's.

    Args:
        snapshot_id: Where it shall point.
        action: Why, for people who open the file.
        removing: Snapshots that are being deleted; None: those that the pointer named.

    Returns:
        False: another writer was faster and nothing was changed.
    """
    if removing is None:
        removing = pointer.removing if pointer else ()
    move_id = uuid.uuid4().hex
    # Marks for deletion are written over the same snapshot: what was current before stays that.
    is_same = pointer is not None and pointer.snapshot_id == snapshot_id
    plain = {
        "snapshot_id": snapshot_id,
        "previous": pointer and (pointer.previous if is_same else pointer.snapshot_id),
        "action": action,
        "moved_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "move_id": move_id,
        "removing": list(removing),
    }
    plain = {name: value for name, value in plain.items() if value not in (None, [])}
    data = json.dumps(plain).encode()
    try:
        if pointer is None:
            store.write_if_absent(POINTER_KEY, data)
        else:
            store.write_if_match(POINTER_KEY, data, pointer.etag)
    except ConflictError:
        # A lost answer makes the client send a write again, which then meets its own first copy.
        found = read_pointer(store)
        return found is not None and found.move_id == move_id
    return True
