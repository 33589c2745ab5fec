"""`coupled verify`: is a snapshot whole, and if not, what exactly is wrong."""

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from coupled_core.storage.store import ObjectStore
from flows.cli.command import SnapshotName, command, option
from flows.cli.terminal import Terminal

if TYPE_CHECKING:  # what imports arrow waits until the command runs
    from coupled_core.dataset.upkeep.verify import VerifyReport

_MAX_SHOWN, _MAX_NEAR_SHOWN, _MAX_LISTED = 50, 10, 1000
_LISTED = {"damage", "near_backgrounds"}


@command()
def verify(
    terminal: Terminal,
    store: ObjectStore,
    snapshot: SnapshotName = "current",
    threads: Annotated[int, option("Threads that hash and decode images.", min=1)] = 4,
    strict: Annotated[
        bool,
        option("Fail where near-identical backgrounds are in different partitions.", "--strict"),
    ] = False,
) -> None:
    """Read everything that a snapshot names and name everything that is wrong with it.

    Parts: there, size, SHA-256, readable, rows. Rows: unique pair_id, kept within the thresholds of
    its run, images where the row says. Images: hash, decodable, both of one size, masks as
    measured. Together: no background and no group in two partitions, duplicates name a pair that is
    there, the funnel adds up. Backgrounds in two partitions that differ by a word or two are named:
    they may be a leak, or two places.
    """
    from coupled_core.dataset.reader import find_snapshot
    from coupled_core.dataset.upkeep.verify import require_whole, verify_snapshot

    target = find_snapshot(store, snapshot)
    started_at = time.monotonic()
    with terminal.progress():
        report = verify_snapshot(store, target, num_threads=threads)
    seconds = time.monotonic() - started_at
    document = {
        "dataset": store.uri,
        "is_whole": report.is_whole,
        **{name: value for name, value in asdict(report).items() if name not in _LISTED},
        "seconds": round(seconds, 2),
        "damage_counts": report.damage.counts,
        "damage": [asdict(damage) for damage in report.damage.listed],
        "num_near_backgrounds": len(report.near_backgrounds),
        "near_backgrounds": [asdict(near) for near in report.near_backgrounds[:_MAX_LISTED]],
    }
    terminal.answer("\n".join(_render(report, seconds)), document)
    require_whole(report, store.uri, strict=strict)


def _render(report: "VerifyReport", seconds: float) -> Iterator[str]:
    yield from map(str, report.damage.listed[:_MAX_SHOWN])
    if report.damage.total > _MAX_SHOWN:
        yield f"and {report.damage.total - _MAX_SHOWN:,} more; --json lists 1000"
    for near in report.near_backgrounds[:_MAX_NEAR_SHOWN]:
        yield (
            f"perhaps a leak: {near.other!r} ({near.other_partition}, {near.num_pairs:,} pairs) "
            f"and {near.background!r} ({near.partition}) share {near.overlap:.0%} of their words"
        )
    if (more := len(report.near_backgrounds) - _MAX_NEAR_SHOWN) > 0:
        yield f"and {more:,} more such backgrounds; --json lists 1000"
    rate = report.num_compared / max(seconds, 1e-3)
    verdict = "is whole" if report.is_whole else f"has {report.damage.total:,} pieces of damage"
    yield f"snapshot {report.snapshot_id} {verdict}"
    yield (
        f"{report.num_parts:,} parts, {report.num_bytes:,} bytes, {report.num_rows:,} rows, "
        f"{report.num_compared:,} pairs decoded in {seconds:.1f} s ({rate:.0f} pairs/s)"
    )
