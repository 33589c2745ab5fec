"""Content hashes of stored objects."""

import hashlib

from coupled_core.storage.store import ObjectStore


def sha256_of(store: ObjectStore, key: str) -> str:
    """Read an object once, in bounded memory, and return its SHA-256 as 64 hex digits."""
    with store.open_input(key) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
