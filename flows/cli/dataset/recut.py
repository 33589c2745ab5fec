"""`coupled recut`, `dedup` and `repartition`: other decisions, a new snapshot, no GPU."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from coupled_core.config import DuplicatesConfig, FilterConfig, OutputConfig
from coupled_core.errors import ConfigError
from flows.cli.command import Dataset, command
from flows.cli.setting import Offer
from flows.cli.terminal import Terminal

if TYPE_CHECKING:  # what imports arrow waits until the command runs
    from coupled_core.dataset.snapshot import Snapshot

_Writing = Annotated[OutputConfig, Offer(section="output", only=("output.single_writer",))]


@command(examples="coupled recut pairs --min-combined 1.2")
def recut(
    terminal: Terminal,
    dataset: Dataset,
    thresholds: Annotated[FilterConfig, Offer(shows_defaults=False)],
    writing: _Writing,
    leave_out: Annotated[
        bool,
        typer.Option("--leave-out", help="Leave pairs dropped whose images were never stored."),
    ] = False,
) -> None:
    """Put other thresholds over all rows: a new snapshot, without generating anything.

    A threshold that is not given stays as each row's run had it. Only manifest parts are written.
    Images of dropped pairs are stored by `coupled build --store-dropped` alone: without it a
    dataset can only be cut more strictly than it was built, and back.
    """
    from coupled_core.dataset.upkeep.recut import recut as recut_dataset
    from coupled_core.filtering.rows import judge_row
    from coupled_core.storage.store import open_store

    given = thresholds.model_dump(exclude_unset=True)
    if not given:
        raise ConfigError("no threshold was given: name at least one, such as --min-combined 1.2")
    store = open_store(dataset)
    with terminal.progress():
        report = recut_dataset(
            store, given, judge_row, leave_out=leave_out, single_writer=writing.single_writer
        )
    left = f", {report.num_without_images:,} left out" if report.num_without_images else ""
    done = f"{report.num_dropped:,} pairs dropped, {report.num_kept:,} kept again{left}"
    terminal.say(_render(report.snapshot, done, dataset))
    terminal.print_json(
        {
            "dataset": store.uri,
            "thresholds": given,
            **_plain(report.snapshot),
            "num_dropped": report.num_dropped,
            "num_kept": report.num_kept,
            "num_without_images": report.num_without_images,
        }
    )


@command(examples="coupled dedup pairs --max-phash-distance 4")
def dedup(
    terminal: Terminal,
    dataset: Dataset,
    thresholds: Annotated[DuplicatesConfig, Offer(without=("drop",))],
    writing: _Writing,
) -> None:
    """Drop near-duplicate pairs of the whole dataset: a new snapshot, without generating anything.

    Both images of a pair must be near those of another, in either order. The pair with the better
    combined metric stays; each dropped one names it in `duplicate_of`. `coupled build` does this
    for new pairs as it commits them; this is for datasets of earlier versions, after re-cuts, and
    for other thresholds.
    """
    from coupled_core.dataset.upkeep.dedup import drop_duplicates
    from coupled_core.storage.store import open_store

    store = open_store(dataset)
    with terminal.progress():
        report = drop_duplicates(store, thresholds, single_writer=writing.single_writer)
    done = f"{report.num_dropped:,} pairs dropped as duplicates, {report.num_kept:,} kept again"
    terminal.say(_render(report.snapshot, done, dataset))
    terminal.print_json(
        {
            "dataset": store.uri,
            "thresholds": thresholds.model_dump(exclude={"drop"}),
            **_plain(report.snapshot),
            "num_dropped": report.num_dropped,
            "num_kept": report.num_kept,
        }
    )


@command()
def repartition(terminal: Terminal, dataset: Dataset, writing: _Writing) -> None:
    """Assign every row to train, val or test by this version's rule: a new snapshot.

    Builds refuse a dataset that an earlier version partitioned by another rule, and point here.
    """
    from coupled_core.dataset.upkeep.repartition import resplit
    from coupled_core.storage.store import open_store

    store = open_store(dataset)
    with terminal.progress():
        report = resplit(store, single_writer=writing.single_writer)
    if report.snapshot is None:
        terminal.say("every row is in its partition already: the dataset stays as it is")
    else:
        moved = f"{report.num_moved:,} rows moved to another partition"
        terminal.say(f"snapshot {report.snapshot.snapshot_id}: {moved}")
    terminal.print_json(
        {"dataset": store.uri, **_plain(report.snapshot), "num_moved": report.num_moved}
    )


def _render(snapshot: "Snapshot | None", done: str, dataset: str) -> str:
    if snapshot is None:
        return "no decision changes: the dataset stays as it is"
    return (
        f"snapshot {snapshot.snapshot_id}: {done}; {snapshot.funnel.pairs_kept:,} kept in all\n"
        f"undo with: coupled rollback previous --dataset {dataset}"
    )


def _plain(snapshot: "Snapshot | None") -> dict[str, Any]:
    return {
        "snapshot_id": snapshot.snapshot_id if snapshot else None,
        "funnel": snapshot.funnel.to_dict() if snapshot else None,
    }
