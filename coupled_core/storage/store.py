"""What we ask of a place that keeps objects."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from io import BufferedReader
from pathlib import Path
from typing import Protocol

from coupled_core.errors import StorageError


@dataclass(frozen=True)
class ObjectInfo:
    """What a store knows about an object without reading it."""

    key: str
    """Relative to the store's URI, with forward slashes."""
    size_bytes: int
    etag: str | None
    """Changes when the content does. None in a local listing, where it would cost a full read."""
    modified_at: datetime | None = None
    """When the object was last written, UTC, by the store's clock."""


class ObjectStore(Protocol):
    """A flat space of keys and bytes: a local folder, or a bucket with a prefix.

    Every write is atomic and durable: readers see the old object or the new one, whole.
    Methods raise `NotFoundError`, `ConflictError` or another `StorageError`.
    """

    @property
    def uri(self) -> str:
        """Where the store is, in a form that `open_store` takes."""

    def read(self, key: str) -> bytes:
        """Return a whole object."""

    def read_with_etag(self, key: str) -> tuple[bytes, str]:
        """Return a whole object and the tag to hand to `write_if_match`."""

    def write(self, key: str, data: bytes) -> str:
        """Create or replace an object; return its etag."""

    def write_if_absent(self, key: str, data: bytes) -> str:
        """Create an object; `ConflictError` when there is one already."""

    def write_if_match(self, key: str, data: bytes, etag: str) -> str:
        """Replace an object; `ConflictError` when its etag is no longer `etag`."""

    def stat(self, key: str) -> ObjectInfo:
        """Return size and etag; on a local folder this reads the file."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield every object whose key starts with `prefix`, in the order of their keys."""

    def exists(self, key: str) -> bool:
        """Say whether there is such an object."""

    def delete(self, key: str) -> None:
        """Remove an object; no error when there is none."""

    def upload_file(self, key: str, path: Path, *, as_large: bool = False) -> ObjectInfo:
        """Create or replace an object with a file's content, in bounded memory.

        Large files go to S3 in several requests; with `as_large` a small one does so, too.
        """

    def open_input(self, key: str) -> BufferedReader:
        """Open an object for reading with seeks; pyarrow takes the result as a file."""

    def local_copy(self, key: str) -> AbstractContextManager[Path]:
        """Yield a file with the object's content; on a local folder the object itself.

        A remote object is copied to the temporary folder, in bounded memory, and removed after.
        """

    def list_unfinished(self) -> Iterator[ObjectInfo]:
        """Yield what writers that died left behind and no reader sees; they cost space."""

    def delete_unfinished(self, key: str) -> None:
        """Remove what `list_unfinished` named; no error when it is gone."""


def is_encodable(text: str) -> bool:
    """Say whether a file can have this name; names that are not UTF-8 come as surrogates."""
    try:
        return b"\0" not in text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return False


def check_key(key: str) -> str:
    """Return a key that stays inside its store.

    Raises:
        StorageError: it is empty, absolute, steps out with `..`, or is no name of a file.
    """
    parts = key.split("/")
    is_name = is_encodable(key) and "\\" not in key
    if not is_name or any(part in ("", ".", "..") for part in parts):
        raise StorageError(
            f"bad object key {key!r}: expected a relative path like manifest/a.parquet"
        )
    return key
