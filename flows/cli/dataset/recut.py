"""`coupled recut`, `dedup` and `repartition`: other decisions, a new snapshot, no GPU."""

from typing import TYPE_CHECKING, Annotated, Any

from coupled_core.config import DuplicatesConfig, FilterConfig
from coupled_core.storage.store import ObjectStore
from flows.cli.command import Writing, command, option
from flows.cli.setting import Offer
from flows.cli.terminal import Terminal

if TYPE_CHECKING:  # what imports arrow waits until the command runs
    from coupled_core.dataset.snapshot import Snapshot


@command(examples="coupled recut pairs --min-combined 1.2")
def recut(
    terminal: Terminal,
    store: ObjectStore,
    thresholds: Annotated[FilterConfig, Offer(shows_defaults=False)],
    writing: Writing,
    leave_out: Annotated[
        bool, option("Leave pairs dropped whose images were never stored.", "--leave-out")
    ] = False,
) -> None:
    """Put other thresholds over all rows: a new snapshot, without generating anything.

    A threshold that is not given stays as each row's run had it. Only manifest parts are written.
    Images of dropped pairs are stored by `coupled build --store-dropped` alone: without it a
    dataset can only be cut more strictly than it was built, and back.
    """
    from coupled_core.dataset.upkeep.recut import recut as recut_dataset

    given, single = thresholds.model_dump(exclude_unset=True), writing.single_writer
    with terminal.progress():
        report = recut_dataset(store, given, leave_out=leave_out, single_writer=single)
    left = f", {report.num_without_images:,} left out" if report.num_without_images else ""
    if report.num_unmeasured:
        left += f", {report.num_unmeasured:,} without that score not judged by it"
    done = f"{report.num_dropped:,} pairs dropped, {report.num_kept:,} kept again{left}"
    document = {
        **_plain(store, report.snapshot),
        "thresholds": given,
        "num_dropped": report.num_dropped,
        "num_kept": report.num_kept,
        "num_without_images": report.num_without_images,
        "num_unmeasured": report.num_unmeasured,
    }
    terminal.answer(_render(store, report.snapshot, done), document)


@command(examples="coupled dedup pairs --max-phash-distance 4")
def dedup(
    terminal: Terminal,
    store: ObjectStore,
    thresholds: Annotated[DuplicatesConfig, Offer(without=("drop",))],
    writing: Writing,
) -> None:
    """Drop near-duplicate pairs of the whole dataset: a new snapshot, without generating anything.

    Both images of a pair must be near those of another, in either order. The pair with the better
    combined metric stays; each dropped one names it in `duplicate_of`. `coupled build` does this
    for new pairs as it commits them; this is for datasets of earlier versions, after re-cuts, and
    for other thresholds.
    """
    from coupled_core.dataset.upkeep.dedup import drop_duplicates

    with terminal.progress():
        report = drop_duplicates(store, thresholds, single_writer=writing.single_writer)
    done = f"{report.num_dropped:,} pairs dropped as duplicates, {report.num_kept:,} kept again"
    document = {
        **_plain(store, report.snapshot),
        "thresholds": thresholds.model_dump(exclude={"drop"}),
        "num_dropped": report.num_dropped,
        "num_kept": report.num_kept,
    }
    terminal.answer(_render(store, report.snapshot, done), document)


@command()
def repartition(terminal: Terminal, store: ObjectStore, writing: Writing) -> None:
    """Assign every row to train, val or test by this version's rule: a new snapshot.

    Builds refuse a dataset that an earlier version partitioned by another rule, and point here.
    """
    from coupled_core.dataset.upkeep.partition import repartition as partition_dataset

    with terminal.progress():
        report = partition_dataset(store, single_writer=writing.single_writer)
    text = "every row is in its partition already: the dataset stays as it is"
    if report.snapshot is not None:
        moved = f"{report.num_changed:,} rows moved to another partition"
        text = f"snapshot {report.snapshot.snapshot_id}: {moved}"
    terminal.answer(text, {**_plain(store, report.snapshot), "num_moved": report.num_changed})


def _render(store: ObjectStore, snapshot: "Snapshot | None", done: str) -> str:
    if snapshot is None:
        return "no decision changes: the dataset stays as it is"
    return (
        f"snapshot {snapshot.snapshot_id}: {done}; {snapshot.funnel.pairs_kept:,} kept in all\n"
        f"undo with: coupled rollback previous --dataset {store.uri}"
    )


def _plain(store: ObjectStore, snapshot: "Snapshot | None") -> dict[str, Any]:
    return {
        "dataset": store.uri,
        "snapshot_id": snapshot.snapshot_id if snapshot else None,
        "funnel": snapshot.funnel.to_dict() if snapshot else None,
    }
