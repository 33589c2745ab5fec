"""Where the report of a snapshot stands in the dataset, beside its contact sheet."""

import json
from typing import Any

from coupled_core.report.report import Report
from coupled_core.storage.store import ObjectStore


def report_key(snapshot_id: str, name: str) -> str:
    """Return where a file of a report stands: report.html, survival.png or summary.json."""
    return f"reports/{snapshot_id}/{name}"


def store_report(store: ObjectStore, snapshot_id: str, report: Report) -> None:
    """Put a report beside its snapshot."""
    store.write(report_key(snapshot_id, "report.html"), report.page.encode())
    store.write(report_key(snapshot_id, "survival.png"), report.survival_picture)
    summary = json.dumps(report.summary, indent=1, sort_keys=True)
    store.write(report_key(snapshot_id, "summary.json"), summary.encode())


def read_summary(store: ObjectStore, snapshot_id: str) -> dict[str, Any] | None:
    """Return the numbers of a stored report; None: there is none."""
    key = report_key(snapshot_id, "summary.json")
    if not store.exists(key):
        return None
    summary: dict[str, Any] = json.loads(store.read(key))
    return summary
