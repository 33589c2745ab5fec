"""What a format has to offer; one small file each in `formats/`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from coupled_core.export.edits import DirectedEdit, SeenEdit
from coupled_core.export.folder import ExportFolder, FileInfo
from coupled_core.export.plan import ExportPlan, UnitId


class UnitWriter(Protocol):
    """Takes the edits of one unit, in order; its files appear when it is closed."""

    def add(self, edit: DirectedEdit) -> None:
        """Write an edit."""

    def close(self) -> tuple[FileInfo, ...]:
        """Finish the unit and return its files."""

    def abort(self) -> None:
        """Drop what was not finished."""


class ExportFormat(Protocol):
    """One layout for one family of readers.

    A unit holds the same edits in every attempt, so writing it twice gives the same bytes.
    """

    @property
    def name(self) -> str:
        """What the command line calls it; a key of `catalogue.FORMATS`."""

    @property
    def keeps_partitions(self) -> bool:
        """Partitions stand side by side; other formats hold one."""

    @property
    def as_png(self) -> bool:
        """Its readers expect PNG files, whatever the dataset stores."""

    @property
    def writes_edits(self) -> bool:
        """False: it only describes the dataset, so no image is read."""

    @property
    def max_shard_bytes(self) -> int:
        """Image bytes a unit, unless the user says otherwise."""

    def open_unit(self, unit: UnitId, folder: ExportFolder, plan: ExportPlan) -> UnitWriter:
        """Begin a unit."""

    def finish(self, folder: ExportFolder, plan: ExportPlan) -> tuple[FileInfo, ...]:
        """Write what describes all units together: indices, trainers' configuration."""

    def read_back(self, root: Path) -> Iterator[SeenEdit]:
        """Yield every edit that a reader of the finished folder gets, pairing as it does."""
