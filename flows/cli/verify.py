"""`coupled verify`: is a snapshot whole, and if not, what exactly is wrong."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from coupled_core.dataset.reader import find_snapshot
from coupled_core.dataset.upkeep.partition import NearBackgrounds
from coupled_core.dataset.upkeep.verify import VerifyReport, verify_snapshot
from coupled_core.errors import DatasetError
from coupled_core.storage.store import open_store
from flows.cli.terminal import Terminal

_MAX_SHOWN, _MAX_NEAR_SHOWN, _MAX_LISTED = 50, 10, 1000
_LISTED = {"damage", "near_backgrounds"}


def verify_and_report(
    dataset: str, snapshot: str, num_threads: int, terminal: Terminal, *, is_strict: bool = False
) -> None:
    """Check a snapshot and print what was found.

    Raises:
        DatasetError: it is damaged; each piece of damage was printed. Or, if `is_strict`, there are
            near-identical backgrounds in different partitions.
    """
    store = open_store(dataset)
    target = find_snapshot(store, snapshot)
    started_at = time.monotonic()
    with terminal.progress():
        report = verify_snapshot(store, target, num_threads=num_threads)
    seconds = time.monotonic() - started_at
    for damage in report.damage.listed[:_MAX_SHOWN]:
        terminal.say(str(damage))
    if report.damage.total > _MAX_SHOWN:
        terminal.say(f"and {report.damage.total - _MAX_SHOWN:,} more; --json lists 1000")
    for line in _render_near_backgrounds(report.near_backgrounds):
        terminal.say(line)
    terminal.say(_summarise(report, seconds))
    terminal.print_json(
        {
            "dataset": store.uri,
            "is_whole": report.is_whole,
            **{name: value for name, value in asdict(report).items() if name not in _LISTED},
            "seconds": round(seconds, 2),
            "damage_counts": report.damage.counts,
            "damage": [asdict(damage) for damage in report.damage.listed],
            "num_near_backgrounds": len(report.near_backgrounds),
            "near_backgrounds": [asdict(near) for near in report.near_backgrounds[:_MAX_LISTED]],
        }
    )
    if not report.is_whole:
        raise DatasetError(
            f"snapshot {report.snapshot_id} of {store.uri} is damaged in {report.damage.total} "
            "places: restore the objects named above, or return with `coupled rollback`"
        )
    if is_strict and report.near_backgrounds:
        raise DatasetError(
            f"snapshot {report.snapshot_id} of {store.uri} has {len(report.near_backgrounds)} "
            "near-identical backgrounds in different partitions, named above: drop their pairs "
            "with `coupled review`, or leave --strict out"
        )


def _render_near_backgrounds(found: Sequence[NearBackgrounds]) -> Iterator[str]:
    for near in found[:_MAX_NEAR_SHOWN]:
        yield (
            f"perhaps a leak: {near.other!r} ({near.other_partition}, {near.num_pairs:,} pairs) "
            f"and {near.background!r} ({near.partition}) share {near.overlap:.0%} of their words"
        )
    if len(found) > _MAX_NEAR_SHOWN:
        yield f"and {len(found) - _MAX_NEAR_SHOWN:,} more such backgrounds; --json lists 1000"


def _summarise(report: VerifyReport, seconds: float) -> str:
    rate = report.num_compared / max(seconds, 1e-3)
    verdict = "is whole" if report.is_whole else f"has {report.damage.total:,} pieces of damage"
    return (
        f"snapshot {report.snapshot_id} {verdict}\n{report.num_parts:,} parts, "
        f"{report.num_bytes:,} bytes, {report.num_rows:,} rows, {report.num_compared:,} pairs "
        f"decoded in {seconds:.1f} s ({rate:.0f} pairs/s)"
    )
