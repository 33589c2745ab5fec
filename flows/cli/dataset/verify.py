"""`coupled verify`: is a snapshot whole, and if not, what exactly is wrong."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from coupled_core.errors import DatasetError
from flows.cli.command import SNAPSHOTS, Dataset, Snapshot, command
from flows.cli.terminal import Terminal

if TYPE_CHECKING:  # what imports arrow waits until the command runs
    from coupled_core.dataset.backgrounds import NearBackgrounds
    from coupled_core.dataset.upkeep.verify import VerifyReport

_MAX_SHOWN, _MAX_NEAR_SHOWN, _MAX_LISTED = 50, 10, 1000
_LISTED = {"damage", "near_backgrounds"}


@command(SNAPSHOTS)
def verify(
    terminal: Terminal,
    dataset: Dataset,
    snapshot: Snapshot = "current",
    threads: Annotated[int, typer.Option(help="Threads that hash and decode images.", min=1)] = 4,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Fail where near-identical backgrounds are in different partitions."
        ),
    ] = False,
) -> None:
    """Read everything that a snapshot names and name everything that is wrong with it.

    Parts: there, size, SHA-256, readable, rows. Rows: unique pair_id, kept within the thresholds of
    its run, images where the row says. Images: hash, decodable, both of one size, masks as
    measured. Together: no background and no group in two partitions, duplicates name a pair that is
    there, the funnel adds up. Backgrounds in two partitions that differ by a word or two are named:
    they may be a leak, or two places.
    """
    from coupled_core.dataset.upkeep.history import find_snapshot
    from coupled_core.dataset.upkeep.verify import verify_snapshot
    from coupled_core.filtering.rows import judge_row
    from coupled_core.storage.store import open_store

    store = open_store(dataset)
    target = find_snapshot(store, snapshot)
    started_at = time.monotonic()
    with terminal.progress():
        report = verify_snapshot(store, target, judge_row, num_threads=threads)
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
    if strict and report.near_backgrounds:
        raise DatasetError(
            f"snapshot {report.snapshot_id} of {store.uri} has {len(report.near_backgrounds)} "
            "near-identical backgrounds in different splits, named above: drop their pairs with "
            "`coupled review`, or leave --strict out"
        )


def _render_near_backgrounds(found: "Sequence[NearBackgrounds]") -> Iterator[str]:
    for near in found[:_MAX_NEAR_SHOWN]:
        yield (
            f"perhaps a leak: {near.other!r} ({near.other_split}, {near.num_pairs:,} pairs) and "
            f"{near.background!r} ({near.split}) share {near.overlap:.0%} of their words"
        )
    if len(found) > _MAX_NEAR_SHOWN:
        yield f"and {len(found) - _MAX_NEAR_SHOWN:,} more such backgrounds; --json lists 1000"


def _summarise(report: "VerifyReport", seconds: float) -> str:
    rate = report.num_compared / max(seconds, 1e-3)
    verdict = "is whole" if report.is_whole else f"has {report.damage.total:,} pieces of damage"
    return (
        f"snapshot {report.snapshot_id} {verdict}\n{report.num_parts:,} parts, "
        f"{report.num_bytes:,} bytes, {report.num_rows:,} rows, {report.num_compared:,} pairs "
        f"decoded in {seconds:.1f} s ({rate:.0f} pairs/s)"
    )
