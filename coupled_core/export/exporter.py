"""Export a snapshot in one format: plan, write the units, write the rest, read back, mark."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from coupled_core.config import ExportSettings, fingerprint
from coupled_core.dataset.backgrounds import PARTITIONS
from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.errors import ConfigError
from coupled_core.export.card import CARD, render_card
from coupled_core.export.edits import edits_of, seen_edit
from coupled_core.export.folder import (
    CHECKSUMS,
    MARKER,
    ExportFolder,
    FileInfo,
    UnitId,
    UnitReport,
)
from coupled_core.export.format import ExportFormat, UnitWriter
from coupled_core.export.pair_images import read_pairs
from coupled_core.export.pairing import check_pairing
from coupled_core.export.plan import (
    ExportPlan,
    Selection,
    UnitAssigner,
    iter_windows,
    plan_export,
)
from coupled_core.export.terms import describe_export
from coupled_core.progress import current_progress
from coupled_core.storage.store import ObjectStore
from coupled_core.version import package_version

_WITHOUT_INSTRUCTIONS = {"flf2v", "croissant"}
"""Frames go from caption to caption; Croissant describes the dataset's own parts."""


def select_edits(export_format: ExportFormat, settings: ExportSettings | None = None) -> Selection:
    """Return which edits an export holds, the format's defaults filled in.

    Raises:
        ConfigError: the format has no place for several partitions or for whole paths.
    """
    settings = settings or ExportSettings()
    wanted = settings.partition or ("all" if export_format.keeps_partitions else "train")
    if wanted == "all" and not export_format.keeps_partitions:
        raise ConfigError(
            f"{export_format.name} would mix the partitions: export train, val and test one by one"
        )
    # Formats of other packages, and those that are no folders, have no such attribute.
    told_paths = getattr(export_format, "told_paths", "relative")
    if settings.absolute_paths and told_paths == "relative":
        raise ConfigError(
            f"{export_format.name} names no files by path: leave --absolute-paths out"
        )
    return Selection(
        partitions=PARTITIONS if wanted == "all" else (wanted,),
        directions=settings.directions,
        skips_entity_swaps=export_format.name == "flf2v" and not settings.include_entity_swap,
        needs_instructions=export_format.name not in _WITHOUT_INSTRUCTIONS,
        max_shard_bytes=settings.max_shard_bytes or export_format.max_shard_bytes,
        absolute_paths=settings.absolute_paths or told_paths == "whole",
    )


@dataclass(frozen=True)
class ExportReport:
    """What an export came to; `marker` is the content of `export.json`."""

    marker: dict[str, Any]
    num_units_written: int
    num_units_reused: int
    num_edits_checked: int
    """Edits that were read back; 0 when the export was complete before."""

    @property
    def was_complete(self) -> bool:
        """Nothing had to be done."""
        return self.num_units_written == self.num_units_reused == self.num_edits_checked == 0


def export_snapshot(
    store: ObjectStore,
    snapshot: Snapshot,
    export_format: ExportFormat,
    selection: Selection,
    root: Path,
) -> ExportReport:
    """Write an export, or what is missing of it; the marker comes last.

    The same snapshot, format and selection give the same bytes, however often it was interrupted.

    Raises:
        ConfigError: the folder holds something else.
        DatasetError: the dataset is damaged, or the result does not read back as it was meant.
    """
    identity = export_identity(snapshot, export_format, selection, root)
    folder = ExportFolder(root)
    # A marker is written last, so what it stands beside is whole.
    if (marker := folder.marker()) is not None:
        _check_same_export(marker, identity, root)
        # A kill between the marker and the clearing leaves notes behind.
        folder.clear()
        return ExportReport(marker, 0, 0, 0)
    plan = plan_export(store, snapshot, selection)
    if not export_format.writes_edits:
        plan = replace(plan, num_pairs_by_unit={})
    with folder.opened(identity):
        num_reused = sum(folder.finished_unit(u) is not None for u in plan.num_pairs_by_unit)
        if plan.num_pairs_by_unit:
            _UnitPass(store, export_format, plan, folder).run()
        files = _finish(export_format, plan, folder)
        num_checked = _check(export_format, plan, folder)
        marker = describe_export(export_format.name, identity, plan, files)
        folder.complete(marker)
    return ExportReport(marker, len(plan.num_pairs_by_unit) - num_reused, num_reused, num_checked)


def export_identity(
    snapshot: Snapshot, export_format: ExportFormat, selection: Selection, root: Path
) -> str:
    """Return a hash of all that the bytes of an export depend on."""
    # One that names its files by whole paths is another export once it was moved.
    place = str(root.absolute()) if selection.absolute_paths else None
    return fingerprint(
        {
            "snapshot_id": snapshot.snapshot_id,
            "format": export_format.name,
            "place": place,
            "selection": {**vars(selection), "partitions": list(selection.partitions)},
            "package_version": package_version(),
        }
    )


class _UnitPass:
    """Streams the pairs once, each to the writer of its unit; partitions run side by side."""

    def __init__(
        self,
        store: ObjectStore,
        export_format: ExportFormat,
        plan: ExportPlan,
        folder: ExportFolder,
    ) -> None:
        self._store, self._format, self._plan, self._folder = store, export_format, plan, folder
        self._open: dict[UnitId, _OpenUnit] = {}

    def run(self) -> None:
        """Write every unit that is not there yet."""
        plan, progress = self._plan, current_progress()
        done = {unit for unit in plan.num_pairs_by_unit if self._folder.finished_unit(unit)}
        num_done = sum(plan.num_pairs_by_unit[unit] for unit in done)
        progress.begin("export", plan.facts.num_pairs - num_done)
        with ExitStack() as unfinished:
            # Also after an error: half-written files must not keep their place on the disk.
            unfinished.callback(self._abort)
            for missing in self._missing(done):
                self._write_window(missing)

    def _missing(self, done: set[UnitId]) -> Iterator[dict[str, tuple[Row, UnitId]]]:
        assigner = UnitAssigner(self._plan.selection)
        for window in iter_windows(self._store, self._plan.snapshot, self._plan.selection):
            exported = [row for row in window if self._plan.selection.directions_of(row)]
            # Every exported pair is assigned, done or not: a unit is filled by what comes before
            # it.
            assigned = [(row, assigner.assign(row)) for row in exported]
            yield {row["pair_id"]: (row, unit) for row, unit in assigned if unit not in done}

    def _write_window(self, missing: dict[str, tuple[Row, UnitId]]) -> None:
        rows = [row for row, _ in missing.values()]
        for pair in read_pairs(self._store, rows, as_png=self._format.as_png):
            unit = missing[pair.row["pair_id"]][1]
            target = self._open.get(unit) or self._begin(unit)
            for edit in edits_of(pair, self._plan.selection.directions_of(pair.row)):
                target.writer.add(edit)
                # What was meant, noted while it is written; compared at the end with what a reader
                # finds.
                target.digests[edit.key] = seen_edit(edit).digest()
            target.num_left -= 1
            if target.num_left == 0:
                self._folder.finish_unit(unit, UnitReport(target.writer.close(), target.digests))
                del self._open[unit]
            current_progress().advance("export")

    def _begin(self, unit: UnitId) -> "_OpenUnit":
        writer = self._format.open_unit(unit, self._folder, self._plan)
        self._open[unit] = _OpenUnit(writer, self._plan.num_pairs_by_unit[unit])
        return self._open[unit]

    def _abort(self) -> None:
        for unit in self._open.values():
            unit.writer.abort()


@dataclass
class _OpenUnit:
    writer: UnitWriter
    num_left: int
    digests: dict[str, str] = field(default_factory=dict)


def _reports(plan: ExportPlan, folder: ExportFolder) -> Iterator[UnitReport]:
    for unit in plan.num_pairs_by_unit:
        report = folder.finished_unit(unit)
        if report is None:
            raise ConfigError(f"files of unit {unit} vanished from {folder.root}: run it again")
        yield report


def _finish(
    export_format: ExportFormat, plan: ExportPlan, folder: ExportFolder
) -> tuple[FileInfo, ...]:
    """Write the index, the card and the checksums; return every file but those of the units."""
    files = export_format.finish(folder, plan)
    if not any(info.path == CARD for info in files):
        files += (folder.write(CARD, render_card(export_format.name, plan)),)
    checksums = folder.stage(CHECKSUMS)
    with checksums.path.open("w", encoding="utf-8") as lines:
        for report in _reports(plan, folder):
            lines.writelines(f"{info.sha256}  {info.path}\n" for info in report.files)
        lines.writelines(f"{info.sha256}  {info.path}\n" for info in files)
    return (*files, checksums.publish())


def _check(export_format: ExportFormat, plan: ExportPlan, folder: ExportFolder) -> int:
    return check_pairing(
        lambda: (report.digests for report in _reports(plan, folder)),
        lambda: export_format.read_back(folder.root),
        str(folder.root),
    )


def _check_same_export(marker: dict[str, Any], identity: str, root: Path) -> None:
    if marker.get("identity") != identity:
        raise ConfigError(
            f"{root} holds another export, {marker.get('format')} of snapshot "
            f"{marker.get('snapshot_id')}, or one with other options or of another version (see "
            f"{MARKER}): choose another folder or delete it"
        )
