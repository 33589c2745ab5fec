"""`coupled compact`: the same rows in fewer files."""

from typing import Annotated

from coupled_core.storage.store import ObjectStore
from flows.cli.command import Writing, command, option
from flows.cli.terminal import Terminal


@command(examples="coupled compact pairs")
def compact(
    terminal: Terminal,
    store: ObjectStore,
    writing: Writing,
    max_rows: Annotated[
        int,
        option(
            "Most rows of a merged part. Parts of more than half as many stay as they are. What "
            "changes rows later holds a whole part in memory, some 13 KB a row.",
            min=2,
        ),
    ] = 4096,
) -> None:
    """Merge small manifest parts, so that readers open fewer files: a new snapshot, the same rows.

    Each shard leaves a manifest part of its own, with few rows. Rows, ids, decisions and images
    stay as they are, and builds may go on meanwhile. `coupled gc` removes the small parts once no
    snapshot that is kept names them.
    """
    from coupled_core.dataset.upkeep.compact import compact as compact_dataset

    with terminal.progress():
        single = writing.single_writer
        report = compact_dataset(store, max_rows=max_rows, single_writer=single)
    text = "no two small parts can become one: the dataset stays as it is"
    if report.snapshot is not None:
        merged = f"{report.num_merged:,} manifest parts became {report.num_written:,}"
        text = (
            f"snapshot {report.snapshot.snapshot_id}: {merged}\n"
            f"undo with: coupled rollback previous --dataset {store.uri}"
        )
    document = {
        "dataset": store.uri,
        "snapshot_id": report.snapshot.snapshot_id if report.snapshot else None,
        "max_rows": max_rows,
        "num_merged": report.num_merged,
        "num_written": report.num_written,
    }
    terminal.answer(text, document)
