"""`coupled show`, `files`, `snapshots`, `diff` and `rollback`: the states of a dataset."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

from coupled_core.errors import DatasetError
from coupled_core.storage.store import ObjectStore
from flows.cli.command import SNAPSHOTS, SnapshotName, argument, command, option
from flows.cli.labelled_lines import count_of
from flows.cli.terminal import Terminal

if TYPE_CHECKING:  # what imports arrow waits until the command runs
    from coupled_core.dataset.snapshot import Snapshot
    from coupled_core.dataset.upkeep.history import Change, PairState, SnapshotDiff, SnapshotSummary


@command(examples="coupled show s3://bucket/pairs --snapshot previous")
def show(terminal: Terminal, store: ObjectStore, snapshot: SnapshotName = "current") -> None:
    """Show what a dataset holds: its funnel, input columns that meant nothing, its parts."""
    from coupled_core.dataset.reader import find_snapshot

    found = find_snapshot(store, snapshot)
    lines = [store.uri, f"snapshot {found.snapshot_id}, {count_of(len(found.runs), 'run')}", ""]
    lines += [found.funnel.render(), ""]
    if carried := list(_describe_carried(found)):
        lines += ["columns without a meaning here, only carried into `extra`:", *carried, ""]
    lines += [
        f"{part.num_rows:>9,} rows {part.size_bytes:>13,} bytes  {store.uri}/{part.key}"
        for part in found.parts
    ]
    document = {**found.model_dump(mode="json"), "funnel": found.funnel.to_dict()}
    terminal.answer("\n".join(lines), {"dataset": store.uri, **document})


@command(
    examples="""
    coupled files pairs
    coupled files s3://bucket/pairs --kind images --snapshot previous
    """
)
def files(
    terminal: Terminal,
    store: ObjectStore,
    snapshot: SnapshotName = "current",
    kind: Annotated[
        Literal["manifest", "images", "dropped", "all"],
        option("Rows, images of kept pairs, stored images of dropped ones, or all of them."),
    ] = "manifest",
) -> None:
    """List the Parquet parts of a snapshot, one a line, for any reader of Parquet.

    A pattern such as manifest/*.parquet would also find parts of earlier snapshots.
    """
    from coupled_core.dataset.reader import find_snapshot

    found = find_snapshot(store, snapshot)
    parts = found.parts if kind == "all" else found.parts_of(kind)
    listed = [
        {**part.model_dump(mode="json"), "location": f"{store.uri}/{part.key}"} for part in parts
    ]
    document = {"dataset": store.uri, "snapshot_id": found.snapshot_id, "files": listed}
    terminal.answer("\n".join(part["location"] for part in listed), document)


@command(SNAPSHOTS)
def snapshots(terminal: Terminal, store: ObjectStore) -> None:
    """List every snapshot: when it was made, by what, from which, how many rows and kept pairs."""
    from coupled_core.dataset.upkeep.history import list_snapshots

    found = list_snapshots(store)
    if not found:
        raise DatasetError(
            f"{store.uri} holds no dataset: build one with `coupled build --output {store.uri}`"
        )
    title = f"{'':2}{'snapshot':<31}{'made by':<10}{'rows':>10}{'kept':>10}  follows"
    document = {"dataset": store.uri, "snapshots": [asdict(facts) for facts in found]}
    terminal.answer("\n".join([title, *(_line(facts) for facts in found)]), document)


@command(
    SNAPSHOTS,
    examples="""
    coupled diff pairs
    coupled diff pairs previous current
    """,
)
def diff(
    terminal: Terminal,
    store: ObjectStore,
    before: Annotated[str, argument("BEFORE", "A snapshot. Default: parent.")] = "parent",
    after: Annotated[str, argument("AFTER", "A snapshot. Default: current.")] = "current",
    examples: Annotated[int, option("Most pairs to name.", min=0)] = 20,
) -> None:
    """Compare two snapshots: pairs added and removed, decisions changed, settings that differ.

    Two arguments are the snapshots, one is the dataset, three are all of them.
    """
    from coupled_core.dataset.reader import find_snapshot
    from coupled_core.dataset.upkeep.history import diff_snapshots

    old, new = find_snapshot(store, before), find_snapshot(store, after)
    found = diff_snapshots(store, old, new, max_examples=examples)
    document = {"dataset": store.uri, **asdict(found), "examples": _plain(found.examples)}
    terminal.answer(_render(found), document)


@command(
    examples="""
    coupled rollback pairs parent
    coupled rollback pairs previous
    """
)
def rollback(
    terminal: Terminal,
    store: ObjectStore,
    snapshot: Annotated[str, argument("SNAPSHOT", "Where to return to.")],
) -> None:
    """Let readers see an earlier snapshot again. Nothing is lost: `rollback previous` undoes it.

    When another writer changes the dataset at the same moment, nothing happens.
    """
    from coupled_core.dataset.upkeep.history import roll_back

    target, was = roll_back(store, snapshot)
    text = f"{store.uri} shows snapshot {was} already"
    if was != target.snapshot_id:
        text = (
            f"{store.uri} shows snapshot {target.snapshot_id} now, "
            f"{target.funnel.pairs_kept:,} kept pairs\n"
            f"undo with: coupled rollback {was} --dataset {store.uri}"
        )
    document = {"dataset": store.uri, "snapshot_id": target.snapshot_id, "previous": was}
    terminal.answer(text, document)


def _describe_carried(snapshot: "Snapshot") -> Iterator[str]:
    """Yield the inputs that have columns of no meaning, each once, whatever runs read it."""
    inputs = {(file.uri, file.etag): file for run in snapshot.runs for file in run.inputs}
    for file in inputs.values():
        if file.unknown_columns:
            yield f"{file.num_rows:>9,} rows of {file.uri}: {', '.join(file.unknown_columns)}"


def _line(facts: "SnapshotSummary") -> str:
    if facts.damage:
        return f"! {facts.snapshot_id:<31}{facts.damage}"
    mark = {"current": "*", "history": " "}.get(facts.state, "-")
    details = "".join(f" {key}={value}" for key, value in (facts.details or {}).items())
    return (
        f"{mark} {facts.snapshot_id:<31}{facts.action:<10}{facts.num_rows:>10,}"
        f"{facts.num_kept:>10,}  {facts.parent or '(first)'}{details}"
    )


def _render(diff: "SnapshotDiff") -> str:
    lines = [
        f"{diff.before} -> {diff.after}",
        f"rows added         {diff.num_added:>10,}",
        f"rows removed       {diff.num_removed:>10,}",
        f"now kept           {diff.num_now_kept:>10,}",
        f"now dropped        {diff.num_now_dropped:>10,}",
        f"otherwise changed  {diff.num_other_reasons:>10,}",
    ]
    lines += [
        f"{name}: {_values(old)} -> {_values(new)}" for name, (old, new) in diff.settings.items()
    ]
    lines += [f"{name}  {_verdict(old)} -> {_verdict(new)}" for name, old, new in diff.examples]
    if rest := diff.num_changes - len(diff.examples):
        lines += [f"and {rest:,} more; --examples {diff.num_changes} names all"]
    return "\n".join(lines)


def _values(values: list[object]) -> str:
    return ", ".join(str(value) for value in values) or "(not set)"


def _verdict(verdict: "PairState | None") -> str:
    if verdict is None:
        return "absent"
    return "kept" if verdict.kept else ", ".join(verdict.reasons)


def _plain(changes: "tuple[Change, ...]") -> list[dict[str, object]]:
    return [
        {"pair_id": name, "before": old and old._asdict(), "after": new and new._asdict()}
        for name, old, new in changes
    ]
