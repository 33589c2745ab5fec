"""`coupled verify`: is a snapshot whole, and if not, what exactly is wrong."""

import time
from dataclasses import asdict

from coupled_core.dataset.history import find_snapshot
from coupled_core.dataset.verify import VerifyReport, verify_snapshot
from coupled_core.errors import DatasetError
from coupled_core.filtering.rows import judge_row
from coupled_core.storage.store import open_store
from flows.terminal import Terminal

_MAX_SHOWN = 50


def verify_and_report(dataset: str, snapshot: str, num_threads: int, terminal: Terminal) -> None:
    """Check a snapshot and print what was found.

    Raises:
        DatasetError: it is damaged; each piece of damage was printed.
    """
    store = open_store(dataset)
    target = find_snapshot(store, snapshot)
    started_at = time.monotonic()
    with terminal.progress():
        report = verify_snapshot(store, target, judge_row, num_threads=num_threads)
    seconds = time.monotonic() - started_at
    for damage in report.damage.listed[:_MAX_SHOWN]:
        terminal.say(str(damage))
    if report.damage.total > _MAX_SHOWN:
        terminal.say(f"and {report.damage.total - _MAX_SHOWN:,} more; --json lists 1000")
    terminal.say(_summarise(report, seconds))
    terminal.print_json(
        {
            "dataset": store.uri,
            "is_whole": report.is_whole,
            **{name: value for name, value in asdict(report).items() if name != "damage"},
            "seconds": round(seconds, 2),
            "damage_counts": report.damage.counts,
            "damage": [asdict(damage) for damage in report.damage.listed],
        }
    )
    if not report.is_whole:
        raise DatasetError(
            f"snapshot {report.snapshot_id} of {store.uri} is damaged in {report.damage.total} "
            "places: restore the objects named above, or return with `coupled rollback`"
        )


def _summarise(report: VerifyReport, seconds: float) -> str:
    rate = report.num_compared / max(seconds, 1e-3)
    verdict = "is whole" if report.is_whole else f"has {report.damage.total:,} pieces of damage"
    return (
        f"snapshot {report.snapshot_id} {verdict}\n{report.num_parts:,} parts, "
        f"{report.num_bytes:,} bytes, {report.num_rows:,} rows, {report.num_compared:,} pairs "
        f"decoded in {seconds:.1f} s ({rate:.0f} pairs/s)"
    )
