"""`coupled export`: write a snapshot in one format, and say what came of it."""

from pathlib import Path

from coupled_core.dataset.reader import current_snapshot, load_snapshot
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.errors import DatasetError
from coupled_core.export.exporter import ExportReport, export_snapshot
from coupled_core.export.format import ExportFormat
from coupled_core.export.pair_rows import Selection
from coupled_core.storage.store import ObjectStore, open_store
from flows.cli.terminal import Terminal


def export_and_report(
    export_format: ExportFormat,
    selection: Selection,
    dataset: str,
    snapshot_id: str | None,
    output: Path,
    *,
    terminal: Terminal,
) -> None:
    """Export a dataset and print what is in the result.

    Raises:
        DatasetError: there is no such snapshot, or it is damaged.
    """
    store = open_store(dataset)
    snapshot = _find_snapshot(store, snapshot_id)
    with terminal.progress():
        report = export_snapshot(store, snapshot, export_format, selection, output)
    terminal.say(_describe(report, output))
    terminal.print_json(
        {
            **report.marker,
            "dataset": store.uri,
            "output": str(output),
            "was_complete": report.was_complete,
            "units_written": report.num_units_written,
            "units_reused": report.num_units_reused,
            "edits_checked": report.num_edits_checked,
        }
    )


def _find_snapshot(store: ObjectStore, snapshot_id: str | None) -> Snapshot:
    if snapshot_id is not None:
        return load_snapshot(store, snapshot_id)
    snapshot = current_snapshot(store)
    if snapshot is None:
        raise DatasetError(f"{store.uri} holds no dataset: build one, or correct --dataset")
    return snapshot


def _describe(report: ExportReport, output: Path) -> str:
    marker = report.marker
    splits = ", ".join(f"{name} {count}" for name, count in marker["splits"].items())
    lines = [
        f"{output}: {marker['format']} of snapshot {marker['snapshot_id']}",
        f"{marker['num_pairs']} pairs ({splits}), directions: {marker['directions']}",
    ]
    if num_missing := marker.get("num_edits_without_instruction"):
        lines.append(
            f"{num_missing} edits left out: nobody wrote an instruction that could be trusted"
        )
    if report.was_complete:
        lines.append("complete already, nothing was done")
    elif report.num_edits_checked:
        lines.append(f"{report.num_edits_checked} edits read back, all paired as they should be")
    lines += [
        f"{source['base_model']}: {source['license']}. {source['use_restrictions']}"
        for source in marker["sources"]
    ]
    return "\n".join([*lines, marker["ai_disclosure"]])
