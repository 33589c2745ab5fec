"""`coupled recut`: other thresholds, a new snapshot, no GPU."""

from collections.abc import Mapping
from typing import Any

from coupled_core.dataset.upkeep.recut import RecutReport, recut
from coupled_core.storage.store import open_store
from flows.cli.terminal import Terminal


def recut_and_report(
    dataset: str,
    thresholds: Mapping[str, float],
    terminal: Terminal,
    *,
    leave_out: bool,
    single_writer: bool,
) -> None:
    """Re-cut a dataset and print what changed.

    Raises:
        ConfigError: no threshold was given, or one is out of its range.
        DatasetError: images that would be needed were not stored, and other reasons.
    """
    store = open_store(dataset)
    with terminal.progress():
        report = recut(store, thresholds, leave_out=leave_out, single_writer=single_writer)
    terminal.say(_render(report, dataset))
    terminal.print_json({"dataset": store.uri, "thresholds": dict(thresholds), **_plain(report)})


def _render(report: RecutReport, dataset: str) -> str:
    if report.snapshot is None:
        return "no decision changes: the dataset stays as it is"
    left = f", {report.num_without_images:,} left out" if report.num_without_images else ""
    return (
        f"snapshot {report.snapshot.snapshot_id}: {report.num_dropped:,} pairs dropped, "
        f"{report.num_kept:,} kept again{left}; {report.snapshot.funnel.pairs_kept:,} kept in all\n"
        f"undo with: coupled rollback previous --dataset {dataset}"
    )


def _plain(report: RecutReport) -> dict[str, Any]:
    snapshot = report.snapshot
    return {
        "snapshot_id": snapshot.snapshot_id if snapshot else None,
        "funnel": snapshot.funnel.to_dict() if snapshot else None,
        "num_dropped": report.num_dropped,
        "num_kept": report.num_kept,
        "num_without_images": report.num_without_images,
    }
