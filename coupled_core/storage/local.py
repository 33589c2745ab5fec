"""A local folder that keeps the same promises as a bucket with conditional writes."""

# ruff: noqa: D102  (the methods are documented once, in `store.ObjectStore`)

import errno
import fcntl
import hashlib
import logging
import os
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from io import BufferedReader
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO

from coupled_core.errors import ConflictError, NotFoundError, StorageError
from coupled_core.storage.store import ObjectInfo, check_key

_STAGED = ".writing-"
# Our own files among the objects; no listing shows them.
_HIDDEN = (_STAGED, ".lock")
_CHUNK_BYTES = 1 << 20
_ADVICE = {
    errno.ENOSPC: "free space there",
    errno.EDQUOT: "free space there",
    errno.EACCES: "check its permissions",
    errno.EPERM: "check its permissions",
    errno.EROFS: "name a place that can be written",
    errno.ENOTDIR: "a file stands where a folder is expected",
    errno.EEXIST: "a file or a dead link stands where a folder is expected",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}
_DEFAULT_ADVICE = "check permissions and free space"
_LOGGER = logging.getLogger(__name__)


class LocalStore:
    """Objects as files. A write is a temporary file, fsync, rename, fsync of the folder.

    The etag is the SHA-256 of the content. Replacing and deleting take a lock file, so that
    `write_if_match` holds between processes of one machine, not only between threads.

    The root may be a symbolic link. Below it links are never followed: what they point to is not
    ours to read, replace or delete. Listings pass over them, every other access is refused.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @property
    def uri(self) -> str:
        return str(self.root)

    def read(self, key: str) -> bytes:
        with self._object("read", key) as path:
            return path.read_bytes()

    def read_with_etag(self, key: str) -> tuple[bytes, str]:
        data = self.read(key)
        return data, hashlib.sha256(data).hexdigest()

    def write(self, key: str, data: bytes) -> str:
        with self._staged(key, _writes(data)) as (staged, target), self._lock():
            staged.replace(target)
        return hashlib.sha256(data).hexdigest()

    def write_if_absent(self, key: str, data: bytes) -> str:
        with self._staged(key, _writes(data)) as (staged, target):
            try:
                os.link(staged, target)  # unlike a rename, a link never replaces
            except FileExistsError as error:
                raise ConflictError(f"{self.uri}/{key} exists already") from error
        return hashlib.sha256(data).hexdigest()

    def write_if_match(self, key: str, data: bytes, etag: str) -> str:
        with self._staged(key, _writes(data)) as (staged, target), self._lock():
            # Compared and replaced under one lock: no writer of this machine comes between.
            found = self.stat(key).etag if self.exists(key) else None
            if found != etag:
                raise ConflictError(f"{self.uri}/{key} was changed by another writer")
            staged.replace(target)
        return hashlib.sha256(data).hexdigest()

    def stat(self, key: str) -> ObjectInfo:
        with self._object("read", key) as path, path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return _describe(key, os.fstat(file.fileno()), digest)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        for info in self._files(prefix):
            # A prefix need not end at a folder: "manifest/part-" asks for some of its files.
            name = info.key.rpartition("/")[2]
            if info.key.startswith(prefix) and not name.startswith(_HIDDEN):
                yield info

    def exists(self, key: str) -> bool:
        with self._object("read", key) as path:
            return path.is_file()

    def delete(self, key: str) -> None:
        if not self.exists(key):
            return
        # Locked, or it could fall between the comparison and the rename of `write_if_match`.
        with self._object("delete", key) as path, self._lock():
            path.unlink(missing_ok=True)

    def upload_file(self, key: str, path: Path, *, as_large: bool = False) -> ObjectInfo:
        def copy(target: BinaryIO) -> None:
            with path.open("rb") as source:
                while chunk := source.read(_CHUNK_BYTES):
                    target.write(chunk)

        with self._staged(key, copy) as (staged, target), self._lock():
            staged.replace(target)
        # Read back from the disk, so that the size and etag are those of what was stored.
        return self.stat(key)

    def open_input(self, key: str) -> BufferedReader:
        with self._object("read", key) as path:
            return path.open("rb")

    @contextmanager
    def local_copy(self, key: str) -> Iterator[Path]:
        # Raises what is wrong with the object before its path is given out.
        self.open_input(key).close()
        yield self.root / key

    def list_unfinished(self) -> Iterator[ObjectInfo]:
        for info in self._files(""):
            if info.key.rpartition("/")[2].startswith(_STAGED):
                yield info

    def delete_unfinished(self, key: str) -> None:
        with self._object("delete", key) as path:
            path.unlink(missing_ok=True)

    @contextmanager
    def _object(self, operation: str, key: str) -> Iterator[Path]:
        """Yield where an object lies or will lie; name what the operating system refuses inside."""
        path = self.root / check_key(key)
        with _named_errors(operation, self.uri, key):
            _refuse_links(self.root, path)
            yield path

    def _files(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield every file of the folder that a prefix names, our own included."""
        folder = prefix.rpartition("/")[0]
        start = self.root / check_key(folder) if folder else self.root
        with _named_errors("list", self.uri, prefix):
            _refuse_links(self.root, start)
            for entry in _walk(start):
                with suppress(FileNotFoundError):  # deleted since its folder was read
                    key = Path(entry.path).relative_to(self.root).as_posix()
                    yield _describe(key, entry.stat(follow_symlinks=False), None)

    @contextmanager
    def _staged(self, key: str, fill: Callable[[BinaryIO], None]) -> Iterator[tuple[Path, Path]]:
        """Yield a durable temporary file and its target; sync the folder when it was moved."""
        with self._object("write", key) as target:
            # In the folder of the target, because a rename is atomic only within one file system.
            staged = target.parent / f"{_STAGED}{uuid.uuid4().hex}"
            _make_folder(target.parent)
            try:
                with staged.open("xb") as file:
                    fill(file)
                    file.flush()
                    # Before the rename: otherwise a power cut may leave the new name on an empty
                    # file.
                    os.fsync(file.fileno())
                yield staged, target
                # The rename itself is on the disk only when its folder is.
                _sync_folder(target.parent)
            finally:
                staged.unlink(missing_ok=True)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Keep other processes and threads from replacing objects meanwhile."""
        # One lock for the whole store: it is held for the length of a rename. The file is never
        # removed, or two processes could hold locks on two files of its name.
        with self._object("lock", ".lock") as path, path.open("ab") as file:
            # released when the file is closed, or the process dies
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _describe(key: str, facts: os.stat_result, etag: str | None) -> ObjectInfo:
    return ObjectInfo(key, facts.st_size, etag, datetime.fromtimestamp(facts.st_mtime, UTC))


def _writes(data: bytes) -> Callable[[BinaryIO], None]:
    def fill(file: BinaryIO) -> None:
        file.write(data)

    return fill


def _refuse_links(root: Path, path: Path) -> None:
    """Refuse a way from a root to an object that leads over a link, or to no regular file.

    A named pipe or a device would keep whoever opens it waiting.

    Raises:
        StorageError: naming the link.
    """
    for step in (*reversed(path.relative_to(root).parents), path.relative_to(root)):
        if step.parts and (root / step).is_symlink():
            raise StorageError(
                f"{root / step} is a symbolic link, and links below a store's folder are not "
                "followed: put what it points to in its place, or remove it"
            )
    with suppress(FileNotFoundError, NotADirectoryError):
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise StorageError(f"{path} is neither a file nor a folder: remove it")


def _walk(start: Path) -> Iterator["os.DirEntry[str]"]:
    """Yield files in the order of their keys: "a-b" before "a/b", as buckets list them.

    Without recursion, so that no depth of folders is too much.
    """
    waiting = _scan(start)
    while waiting:
        # `_scan` puts the first key last, where pop takes it from.
        entry = waiting.pop()
        if entry.is_symlink():
            _mention_link(entry.path)
        elif entry.is_dir():
            waiting += _scan(entry.path)
        elif entry.is_file():
            yield entry


def _scan(folder: str | Path) -> list["os.DirEntry[str]"]:
    """Return what a folder holds, last key first; nothing when there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=_name_in_key, reverse=True)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _name_in_key(entry: "os.DirEntry[str]") -> str:
    # A folder sorts as its keys do, with the slash: "." and "-" come before it, letters after.
    return entry.name + "/" * entry.is_dir(follow_symlinks=False)


@lru_cache(maxsize=1000)
def _mention_link(path: str) -> None:
    """Say once that a link is passed over: whoever made it may expect its content to count."""
    _LOGGER.warning(
        "%s is a symbolic link and passed over: links below a store's folder are not followed", path
    )


def _make_folder(folder: Path) -> None:
    """Create a folder and its parents so that they outlast a power cut."""
    missing = takewhile(lambda each: not each.is_dir(), (folder, *folder.parents))
    # Outermost first; another process may make the same folder at the same moment.
    for each in reversed(list(missing)):
        each.mkdir(exist_ok=True)
        _sync_folder(each.parent)


def _sync_folder(folder: Path) -> None:
    # Python opens no folder as a file, and fsync wants a descriptor.
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
        advice = _ADVICE.get(error.errno or 0, _DEFAULT_ADVICE)
        raise StorageError(f"cannot {operation} {uri}/{key}: {reason}; {advice}") from error
