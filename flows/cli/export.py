"""`coupled export`: write a snapshot in one format, and say what came of it."""

from pathlib import Path

from coupled_core.dataset.reader import find_snapshot
from coupled_core.export.exporter import ExportReport, export_snapshot
from coupled_core.export.format import ExportFormat
from coupled_core.export.plan import Selection
from coupled_core.storage.store import open_store
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
    snapshot = find_snapshot(store, snapshot_id or "current")
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


def _describe(report: ExportReport, output: Path) -> str:
    marker = report.marker
    partitions = ", ".join(f"{name} {count}" for name, count in marker["partitions"].items())
    lines = [
        f"{output}: {marker['format']} of snapshot {marker['snapshot_id']}",
        f"{marker['num_pairs']} pairs ({partitions}), directions: {marker['directions']}",
    ]
    if report.was_complete:
        lines.append("complete already, nothing was done")
    elif report.num_edits_checked:
        lines.append(f"{report.num_edits_checked} edits read back, all paired as they should be")
    lines += [
        f"{source['base_model']}: {source['license']}. {source['use_restrictions']}"
        for source in marker["sources"]
    ]
    return "\n".join([*lines, marker["ai_disclosure"]])
