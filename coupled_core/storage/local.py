"""A local folder that keeps the same promises as a bucket with conditional writes."""

# ruff: noqa: D102  (the methods are documented once, in `store.ObjectStore`)

import fcntl
import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from coupled_core.errors import ConflictError, NotFoundError, StorageError
from coupled_core.storage.store import ObjectInfo, check_key

_STAGED = ".writing-"
_HIDDEN = (_STAGED, ".lock")
_CHUNK_BYTES = 1 << 20


class LocalStore:
    """Objects as files. A write is a temporary file, fsync, rename, fsync of the folder.

    The etag is the SHA-256 of the content. Replacing and deleting take a lock file, so that
    `write_if_match` holds between processes of one machine, not only between threads.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @property
    def uri(self) -> str:
        return str(self.root)

    def read(self, key: str) -> bytes:
        with _named_errors("read", self.uri, key):
            return self._path(key).read_bytes()

    def read_with_etag(self, key: str) -> tuple[bytes, str]:
        data = self.read(key)
        return data, hashlib.sha256(data).hexdigest()

    def write(self, key: str, data: bytes) -> str:
        with self._staged(key, _writes(data)) as staged, self._lock():
            staged.replace(self._path(key))
        return hashlib.sha256(data).hexdigest()

    def write_if_absent(self, key: str, data: bytes) -> str:
        with self._staged(key, _writes(data)) as staged:
            try:
                os.link(staged, self._path(key))  # unlike a rename, a link never replaces
            except FileExistsError as error:
                raise ConflictError(f"{self.uri}/{key} exists already") from error
        return hashlib.sha256(data).hexdigest()

    def write_if_match(self, key: str, data: bytes, etag: str) -> str:
        with self._staged(key, _writes(data)) as staged, self._lock():
            found = self.stat(key).etag if self.exists(key) else None
            if found != etag:
                raise ConflictError(f"{self.uri}/{key} was changed by another writer")
            staged.replace(self._path(key))
        return hashlib.sha256(data).hexdigest()

    def stat(self, key: str) -> ObjectInfo:
        with _named_errors("read", self.uri, key), self._path(key).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return _describe(key, os.fstat(file.fileno()), digest)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        folder = prefix.rpartition("/")[0]
        start = self.root / check_key(folder) if folder else self.root
        for path in _walk(start):
            if path.name.startswith(_HIDDEN):
                continue
            key = path.relative_to(self.root).as_posix()
            if key.startswith(prefix):
                with suppress(FileNotFoundError):  # deleted since its folder was read
                    yield _describe(key, path.stat(), None)

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def delete(self, key: str) -> None:
        if not self.exists(key):
            return
        with _named_errors("delete", self.uri, key), self._lock():
            self._path(key).unlink(missing_ok=True)

    def upload_file(self, key: str, path: Path) -> ObjectInfo:
        def copy(target: BinaryIO) -> None:
            with path.open("rb") as source:
                while chunk := source.read(_CHUNK_BYTES):
                    target.write(chunk)

        with self._staged(key, copy) as staged, self._lock():
            staged.replace(self._path(key))
        return self.stat(key)

    def open_input(self, key: str) -> BufferedReader:
        with _named_errors("read", self.uri, key):
            return self._path(key).open("rb")

    @contextmanager
    def local_copy(self, key: str) -> Iterator[Path]:
        self.open_input(key).close()
        yield self._path(key)

    def list_unfinished(self) -> Iterator[ObjectInfo]:
        for path in _walk(self.root):
            if path.name.startswith(_STAGED):
                with suppress(FileNotFoundError):  # its writer lives, and has finished meanwhile
                    yield _describe(path.relative_to(self.root).as_posix(), path.stat(), None)

    def delete_unfinished(self, key: str) -> None:
        with _named_errors("delete", self.uri, key):
            self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    @contextmanager
    def _staged(self, key: str, fill: Callable[[BinaryIO], None]) -> Iterator[Path]:
        """Yield a durable temporary file beside the target; sync the folder when it was moved."""
        target = self._path(key)
        staged = target.parent / f"{_STAGED}{uuid.uuid4().hex}"
        with _named_errors("write", self.uri, key):
            _make_folder(target.parent)
            try:
                with staged.open("xb") as file:
                    fill(file)
                    file.flush()
                    os.fsync(file.fileno())
                yield staged
                _sync_folder(target.parent)
            finally:
                staged.unlink(missing_ok=True)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Keep other processes and threads from replacing objects meanwhile."""
        with (self.root / ".lock").open("ab") as file:
            fcntl.flock(
                file, fcntl.LOCK_EX
            )  # released when the file is closed, or the process dies
            yield


def _describe(key: str, facts: os.stat_result, etag: str | None) -> ObjectInfo:
    return ObjectInfo(key, facts.st_size, etag, datetime.fromtimestamp(facts.st_mtime, UTC))


def _writes(data: bytes) -> Callable[[BinaryIO], None]:
    def fill(file: BinaryIO) -> None:
        file.write(data)

    return fill


def _walk(folder: Path) -> Iterator[Path]:
    """Yield files in the order of their keys: "a-b" before "a/b", as buckets list them."""
    try:
        entries = [(entry.name, entry.is_dir()) for entry in os.scandir(folder)]
    except (FileNotFoundError, NotADirectoryError):
        return
    for name, is_folder in sorted(entries, key=lambda entry: entry[0] + "/" * entry[1]):
        if is_folder:
            yield from _walk(folder / name)
        else:
            yield folder / name


def _make_folder(folder: Path) -> None:
    """Create a folder and its parents so that they outlast a power cut."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _named_errors(operation: str, uri: str, key: str) -> Iterator[None]:
    """Turn the operating system's errors into ours, naming what was done to what."""
    try:
        yield
    except FileNotFoundError as error:
        raise NotFoundError(f"cannot {operation} {uri}/{key}: it does not exist") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"cannot {operation} {uri}/{key}: {reason}; check permissions and free space"
        ) from error
