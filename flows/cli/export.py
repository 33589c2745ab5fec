"""`coupled export`: the kept pairs of a snapshot in the format of a trainer or reader."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from coupled_core.config import ExportSettings
from coupled_core.export.format import describe_formats
from coupled_core.storage.store import ObjectStore
from flows.cli.command import SnapshotName, argument, command, option
from flows.cli.terminal import Terminal

if TYPE_CHECKING:  # what imports arrow waits until the command runs
    from coupled_core.export.exporter import ExportReport

_FORMAT_LIST = "\n\n".join(f"[bold]{name}[/]: {text}" for name, text in describe_formats().items())


@command(
    f"[bold]Formats[/]\n\n{_FORMAT_LIST}",
    examples="""
    coupled export huggingface --dataset coupled-dataset --output pairs-hub
    coupled export s3://bucket/pairs ai-toolkit --output /data/pairs --directions forward
    """,
)
def export(
    terminal: Terminal,
    store: ObjectStore,
    name: Annotated[str, argument("FORMAT", "One of the formats below.")],
    output: Annotated[
        Path, option("Folder, new or empty; or an export to continue.", "--output", "-o")
    ],
    edits: ExportSettings,
    snapshot: SnapshotName = "current",
) -> None:
    """Write the kept pairs of a dataset in the format of a trainer or reader.

    Each pair serves both ways. What was written is read back before export.json marks it complete.

    The same command continues an export that was interrupted, and does nothing when it is complete.
    """
    from coupled_core.dataset.reader import find_snapshot
    from coupled_core.export.exporter import export_snapshot, select_edits
    from coupled_core.export.format import find_format

    export_format = find_format(name)
    selection = select_edits(export_format, edits)
    found = find_snapshot(store, snapshot)
    with terminal.progress():
        report = export_snapshot(store, found, export_format, selection, output)
    terminal.answer(_describe(report, output), {"dataset": store.uri, **_to_json(report, output)})


def _to_json(report: "ExportReport", output: Path) -> dict[str, Any]:
    return {
        **report.marker,
        "output": str(output),
        "was_complete": report.was_complete,
        "units_written": report.num_units_written,
        "units_reused": report.num_units_reused,
        "edits_checked": report.num_edits_checked,
    }


def _describe(report: "ExportReport", output: Path) -> str:
    marker = report.marker
    counts = ", ".join(f"{name} {count}" for name, count in marker["partitions"].items())
    lines = [
        f"{output}: {marker['format']} of snapshot {marker['snapshot_id']}",
        f"{marker['num_pairs']} pairs ({counts}), directions: {marker['directions']}",
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
