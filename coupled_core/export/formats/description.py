"""What describes a dataset without copying it: the card alone, and Croissant of its own parts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from coupled_core.errors import DatasetError
from coupled_core.export.card import CARD, render_card
from coupled_core.export.croissant import CROISSANT, describe_parts
from coupled_core.export.edits import SeenEdit
from coupled_core.export.folder import ExportFolder, FileInfo, UnitId
from coupled_core.export.format import UnitWriter
from coupled_core.export.plan import ExportPlan


@dataclass(frozen=True)
class Description:
    """A document about a snapshot."""

    name: str
    write: Callable[[ExportFolder, ExportPlan], FileInfo]
    keeps_partitions: bool = True
    as_png: bool = False
    writes_edits: bool = False
    max_shard_bytes: int = 1_000_000_000

    def open_unit(self, unit: UnitId, folder: ExportFolder, plan: ExportPlan) -> UnitWriter:
        """Refuse: there are no edits here."""
        raise DatasetError(f"{self.name} holds no edits")

    def finish(self, folder: ExportFolder, plan: ExportPlan) -> tuple[FileInfo, ...]:
        """Write the document."""
        return (self.write(folder, plan),)

    def read_back(self, root: Path) -> Iterator[SeenEdit]:
        """Yield nothing."""
        return iter(())


CARD_ONLY = Description("card", lambda folder, plan: folder.write(CARD, render_card("card", plan)))
CROISSANT_ONLY = Description(
    "croissant", lambda folder, plan: folder.write(CROISSANT, describe_parts(plan))
)
