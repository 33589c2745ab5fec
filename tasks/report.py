"""The report task: a page about a snapshot for people, its numbers for programs."""

from prefect import get_run_logger

from coupled_core.config import RunConfig
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.report.report import make_report
from coupled_core.report.stored import report_key, store_report
from coupled_core.storage.store import open_store
from tasks.policy import stage_task


@stage_task("report", retries=2)
def write_report(config: RunConfig, snapshot: Snapshot) -> None:
    """Make the report of a snapshot and store it beside it."""
    store = open_store(config.output.uri)
    report = make_report(store, snapshot)
    store_report(store, snapshot.snapshot_id, report)
    get_run_logger().info(
        "report %s: %d pairs shown",
        report_key(snapshot.snapshot_id, "report.html"),
        report.num_shown,
    )
