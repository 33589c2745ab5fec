"""Content hashes of files and of stored objects, read in bounded memory; 64 hex digits."""

import hashlib
from pathlib import Path

from coupled_core.storage.store import ObjectStore


def sha256_of(store: ObjectStore, key: str) -> str:
    """Return the SHA-256 of an object."""
    with store.open_input(key) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a local file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
