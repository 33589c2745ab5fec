"""The folder an export is written to: files appear whole, and finished units are written down."""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from coupled_core.documents import MAX_STORED_BYTES, DocumentError, parse_json, read_file
from coupled_core.errors import ConfigError, StorageError
from coupled_core.storage.checksum import sha256_of_file

MARKER = "export.json"
CHECKSUMS = "checksums.sha256"
_WORK = ".export"


@dataclass(frozen=True, order=True)
class UnitId:
    """One unit of one partition."""

    partition: str
    index: int
    """From 0 within the partition."""

    def __str__(self) -> str:
        return f"{self.partition}-{self.index:05d}"


@dataclass(frozen=True)
class FileInfo:
    """A finished file of an export."""

    path: str
    """Relative to the export, with forward slashes."""
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class UnitReport:
    """What a finished unit left behind."""

    files: tuple[FileInfo, ...]
    digests: Mapping[str, str]
    """`SeenEdit.digest` of every edit by its key, 64 hex digits."""


@dataclass(frozen=True)
class StagedFile:
    """A file that is being written and that no reader sees yet."""

    folder: "ExportFolder"
    name: str
    """What it will be called, relative to the export."""
    path: Path
    """Where to write it."""

    def publish(self) -> FileInfo:
        """Give the file its name; it has to be closed."""
        self.folder.place(self.path, self.name)
        return self.folder.describe(self.name)

    def discard(self) -> None:
        """Drop the file."""
        self.path.unlink(missing_ok=True)


class ExportFolder:
    """A folder for one export; a second attempt continues where the first one stopped."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._work = root / _WORK

    def marker(self) -> dict[str, Any] | None:
        """Return what `export.json` says; None: the export is not complete."""
        path = self.root / MARKER
        try:
            marker = parse_json(read_file(path, MAX_STORED_BYTES), MAX_STORED_BYTES)
            if not isinstance(marker, dict):
                raise DocumentError("expected an object")
        except FileNotFoundError:
            return None
        except NotADirectoryError as error:
            raise ConfigError(f"{self.root} is not a folder: choose another place") from error
        except ValueError as error:
            raise ConfigError(f"{path} is not ours or is damaged: choose another folder") from error
        return marker

    @contextmanager
    def opened(self, identity: str) -> Iterator[None]:
        """Claim the folder for an export; keep a second process out.

        Raises:
            ConfigError: it holds something else, or another process is writing to it.
            StorageError: inside the block, the file system refused something.
        """
        # Looked at before anything is made in the folder: a refusal leaves it as it was.
        is_ours = (self._work / "identity").exists()
        if (
            not is_ours
            and self.root.exists()
            and any(path.name != _WORK for path in self.root.iterdir())
        ):
            raise ConfigError(f"{self.root} is not empty: choose an empty or a new folder")
        try:
            (self._work / "units").mkdir(parents=True, exist_ok=True)
            # The lock lies in the work folder, so that folder has to be there first, whoever made
            # it.
            with self._locked():
                self._claim(identity)
                yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise StorageError(
                f"cannot write to {self.root}: {reason}; check permissions and free space, then "
                "run it again"
            ) from error

    def write(self, path: str, data: bytes) -> FileInfo:
        """Write a small file; it appears whole."""
        staged = self._staged()
        staged.write_bytes(data)
        self.place(staged, path)
        return FileInfo(path, len(data), hashlib.sha256(data).hexdigest())

    def stage(self, path: str) -> "StagedFile":
        """Begin a file of any size; it appears under its name when it is published."""
        return StagedFile(self, path, self._staged())

    def place(self, staged: Path, path: str) -> None:
        """Move a finished file to its place below the export."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # Work folder and export are on one file system, so this is one step: no reader sees half a
        # file.
        staged.replace(target)

    def describe(self, path: str) -> FileInfo:
        """Return size and checksum of a file, read in bounded memory."""
        place = self.root / path
        return FileInfo(path, place.stat().st_size, sha256_of_file(place))

    def finish_unit(self, unit: UnitId, report: UnitReport) -> None:
        """Write down that a unit is complete."""
        self.write(f"{_WORK}/units/{unit}.json", json.dumps(asdict(report)).encode())

    def finished_unit(self, unit: UnitId) -> UnitReport | None:
        """Return the report of a unit; None: it has to be written (again)."""
        try:
            plain = json.loads((self._work / "units" / f"{unit}.json").read_bytes())
            report = UnitReport(
                tuple(FileInfo(**each) for each in plain["files"]), plain["digests"]
            )
        except (FileNotFoundError, ValueError, KeyError, TypeError):  # absent, or not our report
            return None
        return report if all(map(self._has, report.files)) else None

    def unit_files(self, unit: UnitId) -> tuple[FileInfo, ...]:
        """Return the files of a unit; none when it is not finished."""
        report = self.finished_unit(unit)
        return report.files if report else ()

    def append_index(self, unit: UnitId, rows: Iterable[dict[str, Any]]) -> FileInfo:
        """Keep a unit's share of the index until all units are there."""
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        return self.write(f"{_WORK}/units/{unit}.index.jsonl", lines.encode())

    def iter_index(self, units: Iterable[UnitId]) -> Iterator[dict[str, Any]]:
        """Yield the index of all units, in order."""
        for unit in units:
            with (self._work / "units" / f"{unit}.index.jsonl").open(encoding="utf-8") as lines:
                for line in lines:
                    yield json.loads(line)

    def complete(self, marker: dict[str, Any]) -> None:
        """Write the marker, the last file of an export, and clear away what led to it."""
        # The notes go last: killed in between, the export is complete and carries some of them
        # along.
        self.write(MARKER, (json.dumps(marker, indent=2, sort_keys=True) + "\n").encode())
        self.clear()

    def clear(self) -> None:
        """Remove the notes about unfinished work."""
        shutil.rmtree(self._work, ignore_errors=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._work / "lock").open("ab") as lock:
            try:
                # The kernel drops it with the process, even by SIGKILL: no lock is ever left
                # behind.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ConfigError(f"another export is writing to {self.root}") from error
            yield

    def _claim(self, identity: str) -> None:
        path = self._work / "identity"
        if path.exists() and (found := path.read_text()) != identity:
            raise ConfigError(
                f"{self.root} holds an unfinished export with other settings ({found}, asked for "
                f"{identity}): delete it, or choose another folder"
            )
        self.write(f"{_WORK}/identity", identity.encode())
        # Under the lock nobody else is writing, so these are of a process that died.
        for leftover in self._work.glob("staged-*"):
            leftover.unlink()

    def _has(self, info: FileInfo) -> bool:
        path = self.root / info.path
        # By its size alone: the content of every file is compared when all is read back.
        return path.is_file() and path.stat().st_size == info.size_bytes

    def _staged(self) -> Path:
        return self._work / f"staged-{os.urandom(8).hex()}"
