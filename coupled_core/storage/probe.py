"""Find out whether a store keeps the promise that commits rest on."""

import uuid

from coupled_core.errors import ConflictError
from coupled_core.storage.store import ObjectStore

_WRONG_ETAG = '"00000000000000000000000000000000"'


def probe_conditional_writes(store: ObjectStore) -> bool:
    """Try to break both conditions on a key of our own; False when the store lets us."""
    key = f"work/probe-{uuid.uuid4().hex}"
    store.write(key, b"first")
    try:
        return _refuses_absent(store, key) and _refuses_match(store, key)
    finally:
        store.delete(key)


def _refuses_absent(store: ObjectStore, key: str) -> bool:
    try:
        store.write_if_absent(key, b"second")
    except ConflictError:
        return True
    return False


def _refuses_match(store: ObjectStore, key: str) -> bool:
    try:
        store.write_if_match(key, b"third", _WRONG_ETAG)
    except ConflictError:
        return True
    return False
