"""The kept pairs of a snapshot in the format of a trainer or reader."""

from pathlib import Path
from typing import Any

from coupled_core.config import ExportSettings
from coupled_core.dataset.reader import find_snapshot
from coupled_core.export.exporter import export_snapshot, select_edits
from coupled_core.export.format import find_format
from coupled_core.storage.open_store import open_store
from flows.policy import observed_flow
from tasks.announce import show_table


@observed_flow("export-dataset", "export", "dataset")
def export_dataset(
    dataset: str = "coupled-dataset",
    format: str = "huggingface",
    output: str = "export",
    snapshot: str = "current",
    edits: ExportSettings | None = None,
) -> dict[str, Any]:
    """Write the kept pairs of a dataset in another format; the same call continues it.

    Args:
        dataset: A folder or s3://BUCKET/PREFIX.
        format: One of those that `coupled export --help` lists.
        output: Folder on the worker's disk, new or empty, or an export to continue.
        snapshot: Which state: current, parent, previous, or the beginning of an id.
        edits: Which edits, and how they are cut into files. Empty: the format's defaults.

    Raises:
        CoupledError: there is no such format, the folder holds something else, or the result does
            not read back as it was meant.
    """
    chosen, store = find_format(format), open_store(dataset)
    selection = select_edits(chosen, edits)
    found = find_snapshot(store, snapshot)
    report = export_snapshot(store, found, chosen, selection, Path(output))
    facts = {
        "dataset": store.uri,
        "snapshot": found.snapshot_id,
        "format": chosen.name,
        "output": output,
        "pairs": report.marker["num_pairs"],
        "was complete already": report.was_complete,
        "edits read back": report.num_edits_checked,
    }
    show_table("export", facts, store.uri)
    return facts
