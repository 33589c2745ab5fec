"""Temporary folders that do not outlive their process, even one that was killed."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from coupled_core.errors import StorageError

_SUFFIX = ".locked"
"""Marks the folders that a living process holds a lock on: without one they are litter."""
_MAX_ATTEMPTS = 100


@contextmanager
def scratch_folder(purpose: str) -> Iterator[Path]:
    """Yield an empty folder that is removed at the end.

    A process that is killed cannot remove its folder. So each holds a lock on its own as long as it
    lives, and whoever makes the next folder first removes those that nobody holds.

    Args:
        purpose: One word that goes into the folder's name.

    Raises:
        StorageError: no folder can be made; the text says where.
    """
    try:
        parent = Path(tempfile.gettempdir())
        _remove_abandoned(parent)
        folder, descriptor = _make_locked(parent, purpose)
    except OSError as error:
        raise StorageError(
            f"cannot make a temporary folder: {error.strerror or error}; free space in "
            f"{os.environ.get('TMPDIR', '/tmp')}, or name another folder in TMPDIR"
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)  # gives the lock back


def _make_locked(parent: Path, purpose: str) -> tuple[Path, int]:
    """Return a new folder and the descriptor that holds its lock."""
    for _ in range(_MAX_ATTEMPTS):
        folder = Path(tempfile.mkdtemp(_SUFFIX, f"coupled-{purpose}-", parent))
        with suppress(FileNotFoundError):
            descriptor = _open_folder(folder)
            with suppress(OSError):  # a file system without locks: nobody can take the folder away
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            # between its making and its locking, others may have taken it for an abandoned one
            if _is_still(folder, descriptor):
                return folder, descriptor
            os.close(descriptor)
    raise OSError(f"every folder made in {parent} disappears at once")


def _remove_abandoned(parent: Path) -> None:
    """Remove the folders of ours whose processes are gone."""
    for folder in parent.glob(f"coupled-*{_SUFFIX}"):
        with suppress(OSError):  # it is another user's, or has just been removed
            descriptor = _open_folder(folder)
            try:
                # A lock ends with its process, however that ends. Without waiting: a held lock
                # raises, and the folder stays.
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def _open_folder(folder: Path) -> int:
    # /tmp belongs to all users: a link of this name that somebody planted is not followed.
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def _is_still(folder: Path, descriptor: int) -> bool:
    try:
        # The name may have been removed and given again: the lock counts only on what has it now.
        return os.path.samestat(folder.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
