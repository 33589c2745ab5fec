"""How a store is opened from its URI: a local folder, or a bucket with a prefix."""

import os
from pathlib import Path

from coupled_core.errors import ConfigError, NotFoundError
from coupled_core.storage.local import LocalStore
from coupled_core.storage.store import ObjectStore, is_encodable


def open_store(uri: str | Path) -> ObjectStore:
    """Open a folder (created by the first write) or `s3://bucket/prefix`; no request is made."""
    text = os.fspath(uri)
    if text.startswith("s3://"):
        from coupled_core.storage.s3 import S3Store  # boto3 takes half a second to import

        return S3Store(text)
    if "://" in text:
        raise ConfigError(f"cannot open {text!r}: expected a local path or s3://BUCKET/PREFIX")
    return LocalStore(_absolute(text))


def open_uri(uri: str | Path) -> tuple[ObjectStore, str]:
    """Open what a URI names for reading: one object (store, key), or a folder (store, "").

    Raises:
        NotFoundError: there is neither an object nor a folder of that name.
    """
    text = os.fspath(uri)
    # Links are followed here, in the path that the user names; a store refuses those below it.
    text = text.rstrip("/") if "://" in text else str(_absolute(text, follow_links=True))
    parent, _, name = text.rpartition("/")
    if name and parent != "s3:/":  # neither the root folder nor a whole bucket
        store = open_store(parent or "/")
        if store.exists(name):
            return store, name
    folder = open_store(text)
    # Buckets have no folders: there is one if a key begins with its name.
    if next(folder.list(""), None) is None:
        raise NotFoundError(f"there is no object or folder {os.fspath(uri)}: check the path")
    return folder, ""


def _absolute(text: str, *, follow_links: bool = False) -> Path:
    """Return a local path from the root folder on.

    Raises:
        ConfigError: no file system can hold such a path, or its links lead round in a circle.
    """
    try:
        if not is_encodable(text):
            raise ValueError("it holds a character that no file name has")
        return Path(text).resolve() if follow_links else Path(text).absolute()
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(f"{text!r} is not the path of a file or folder: {error}") from error
