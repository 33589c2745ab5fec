"""Hugging Face: Parquet shards with every column, the card, and Croissant metadata."""

from collections.abc import Iterator
from pathlib import Path

from coupled_core.export.croissant import CROISSANT, describe_shards
from coupled_core.export.edits import SeenEdit
from coupled_core.export.folder import ExportFolder, FileInfo, UnitId
from coupled_core.export.format import UnitWriter
from coupled_core.export.formats.parquet import HUGGING_FACE_COLUMNS, ParquetFormat, data_files
from coupled_core.export.plan import ExportPlan


class HuggingFaceFormat:
    """What the Hub and `datasets` expect of a dataset repository."""

    name = "huggingface"
    keeps_partitions = True
    as_png = False
    writes_edits = True
    max_shard_bytes = 500_000_000

    def __init__(self) -> None:
        self._parquet = ParquetFormat(
            self.name, HUGGING_FACE_COLUMNS, "input_image", "edited_image", "edit_prompt"
        )

    def open_unit(self, unit: UnitId, folder: ExportFolder, plan: ExportPlan) -> UnitWriter:
        """Begin a shard."""
        return self._parquet.open_unit(unit, folder, plan)

    def finish(self, folder: ExportFolder, plan: ExportPlan) -> tuple[FileInfo, ...]:
        """Write the card, and Croissant with the checksum of every shard."""
        card = self._parquet.finish(folder, plan)
        shards = [info for unit in plan.num_pairs_by_unit for info in folder.unit_files(unit)]
        described = describe_shards(plan, shards, data_files(plan), HUGGING_FACE_COLUMNS)
        return (*card, folder.write(CROISSANT, described))

    def read_back(self, root: Path) -> Iterator[SeenEdit]:
        """Yield the rows of all shards."""
        return self._parquet.read_back(root)


HUGGING_FACE = HuggingFaceFormat()
