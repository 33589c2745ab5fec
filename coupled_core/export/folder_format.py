"""What the formats have in common that are folders of PNG files with an index."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from coupled_core.errors import DatasetError
from coupled_core.export.edits import DirectedEdit, SeenEdit
from coupled_core.export.folder import ExportFolder, FileInfo, UnitId
from coupled_core.export.format import UnitWriter
from coupled_core.export.plan import ExportPlan
from coupled_core.storage.checksum import sha256_of_file

IndexRow = dict[str, Any]
CONDITIONING_SUFFIX = "-condlabel"
"""What OneTrainer adds to a target's stem to find its source."""


@dataclass(frozen=True)
class FoundEdit:
    """An edit as a trainer puts it together from the files it finds; paths below the export."""

    source: str
    target: str
    instruction: str
    key: str | None = None
    """Which edit it is; None: the names of its files say it."""


@dataclass(frozen=True)
class FolderFormat:
    """Images as files, one index row an edit; a unit is a step after which work is not lost."""

    name: str
    paths: Callable[[DirectedEdit], tuple[str, str]]
    """Where source and target stand. A file that two edits of a unit share is written once."""
    index_row: Callable[[DirectedEdit], IndexRow]
    write_index: Callable[[ExportFolder, ExportPlan], tuple[FileInfo, ...]]
    """Writes the index and what the trainer's configuration needs, when all images are there."""
    read_index: Callable[[Path], Iterator[FoundEdit]]
    """Pairs the files of a finished export as the trainer does."""
    caption_path: Callable[[DirectedEdit], str] | None = None
    """Where the instruction stands as a text file of its own."""
    told_paths: Literal["either", "whole", "relative"] = "either"
    """How index and configuration name files. Whole paths hold wherever a trainer is started,
    relative ones wherever the export is moved; not every trainer takes both."""
    keeps_partitions: bool = False
    as_png: bool = True
    writes_edits: bool = True
    max_shard_bytes: int = 250_000_000

    def open_unit(self, unit: UnitId, folder: ExportFolder, plan: ExportPlan) -> UnitWriter:
        """Begin a step."""
        return _FolderUnit(self, unit, folder)

    def finish(self, folder: ExportFolder, plan: ExportPlan) -> tuple[FileInfo, ...]:
        """Write the index."""
        return self.write_index(folder, plan)

    def read_back(self, root: Path) -> Iterator[SeenEdit]:
        """Yield every edit that the trainer would see."""
        for found in self.read_index(root):
            yield SeenEdit(
                key=found.key or _key(found),
                source_sha256=_sha256(root / found.source),
                target_sha256=_sha256(root / found.target),
                instruction=found.instruction,
            )


class _FolderUnit:
    def __init__(self, layout: FolderFormat, unit: UnitId, folder: ExportFolder) -> None:
        self._layout, self._unit, self._folder = layout, unit, folder
        self._files: dict[str, FileInfo] = {}
        self._index: list[IndexRow] = []

    def add(self, edit: DirectedEdit) -> None:
        """Write the images of an edit."""
        paths = self._layout.paths(edit)
        for path, image in zip(paths, (edit.source, edit.target), strict=True):
            # In formats that share images the backward edit names the same two files.
            if path not in self._files:
                self._files[path] = self._folder.write(path, image.data)
        if self._layout.caption_path is not None:
            path = self._layout.caption_path(edit)
            self._files[path] = self._folder.write(path, edit.instruction.encode())
        # Only in memory: an index of a unit that was not finished must not be found by the next
        # attempt.
        self._index.append(self._layout.index_row(edit))

    def close(self) -> tuple[FileInfo, ...]:
        """Keep the index rows for the end."""
        self._folder.append_index(self._unit, self._index)
        return tuple(self._files.values())

    def abort(self) -> None:
        """Leave the files; the next attempt writes the same ones again."""


def shared_paths(edit: DirectedEdit) -> tuple[str, str]:
    """Put both images into `images/`, once for both directions."""
    return f"images/{edit.source.name}.png", f"images/{edit.target.name}.png"


def stem_paths(edit: DirectedEdit) -> tuple[str, str]:
    """Put source and target under one name into `sources/` and `targets/`."""
    return f"sources/{edit.key}.png", f"targets/{edit.key}.png"


def write_lines(folder: ExportFolder, path: str, lines: Iterable[str]) -> FileInfo:
    """Write a text file line by line, whatever its length."""
    staged = folder.stage(path)
    with staged.path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)
    return staged.publish()


def locate(folder: ExportFolder, plan: ExportPlan, path: str) -> str:
    """Return how a trainer is told a path: from the export's folder on, or as a whole."""
    return str((folder.root / path).absolute()) if plan.selection.absolute_paths else path


def quote_path(path: str) -> str:
    """Write a path as a string of TOML or YAML; neither takes JSON's escapes of rare letters."""
    return json.dumps(path, ensure_ascii=False)


def write_jsonl(
    folder: ExportFolder, plan: ExportPlan, path: str, path_columns: Collection[str]
) -> FileInfo:
    """Write the index of all units as JSON lines.

    Letters beyond ASCII are escaped: some readers open files in the machine's locale.

    Args:
        path: Of the index, relative to the export.
        path_columns: Columns that name images.
    """
    rows = (
        {
            name: locate(folder, plan, value) if name in path_columns else value
            for name, value in row.items()
        }
        for row in folder.iter_index(plan.num_pairs_by_unit)
    )
    return write_lines(folder, path, map(json.dumps, rows))


def read_jsonl(path: Path) -> Iterator[IndexRow]:
    """Yield the rows of a JSON lines file."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _key(found: FoundEdit) -> str:
    """Return the edit's key, from the names of its files alone."""
    source, target = Path(found.source).stem, Path(found.target).stem
    # Formats with equal stems name both files by the edit; the others share images between edits.
    if source in (target, target + CONDITIONING_SUFFIX):
        return target
    source_pair, _, source_index = source.rpartition("-")
    target_pair, _, target_index = target.rpartition("-")
    if source_pair != target_pair or {source_index, target_index} != {"0", "1"}:
        raise DatasetError(f"{found.source} and {found.target} are not the images of one pair")
    return f"{target_pair}-{'forward' if target_index == '1' else 'backward'}"


def _sha256(path: Path) -> str:
    try:
        return sha256_of_file(path)
    except FileNotFoundError as error:
        raise DatasetError(f"{path} is named in the index but missing: export again") from error
