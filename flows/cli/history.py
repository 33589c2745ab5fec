"""`coupled snapshots`, `diff` and `rollback`: the states of a dataset."""

from dataclasses import asdict

from coupled_core.dataset.reader import find_snapshot
from coupled_core.dataset.upkeep.history import (
    Change,
    PairState,
    SnapshotDiff,
    SnapshotSummary,
    diff_snapshots,
    list_snapshots,
    roll_back,
)
from coupled_core.errors import DatasetError
from coupled_core.storage.store import open_store
from flows.cli.terminal import Terminal


def list_and_report(dataset: str, terminal: Terminal) -> None:
    """Print every snapshot, newest first.

    Raises:
        DatasetError: there is none.
    """
    store = open_store(dataset)
    found = list_snapshots(store)
    if not found:
        raise DatasetError(
            f"{store.uri} holds no dataset: build one with `coupled build --output {dataset}`"
        )
    terminal.say(f"{'':2}{'snapshot':<31}{'made by':<10}{'rows':>10}{'kept':>10}  follows")
    for facts in found:
        terminal.say(_line(facts))
    terminal.print_json({"dataset": store.uri, "snapshots": [asdict(facts) for facts in found]})


def diff_and_report(
    dataset: str, before: str, after: str, max_examples: int, terminal: Terminal
) -> None:
    """Print what differs between two snapshots.

    Raises:
        ConfigError: a name means no snapshot.
    """
    store = open_store(dataset)
    old, new = find_snapshot(store, before), find_snapshot(store, after)
    found = diff_snapshots(store, old, new, max_examples=max_examples)
    terminal.say(_render(found))
    terminal.print_json({"dataset": store.uri, **asdict(found), "examples": _plain(found.examples)})


def roll_back_and_report(dataset: str, name: str, terminal: Terminal) -> None:
    """Move the pointer and print where it was and is.

    Raises:
        CoupledError: nothing was moved, and why.
    """
    store = open_store(dataset)
    target, was = roll_back(store, name)
    if was == target.snapshot_id:
        terminal.say(f"{store.uri} shows snapshot {was} already")
    else:
        terminal.say(
            f"{store.uri} shows snapshot {target.snapshot_id} now, "
            f"{target.funnel.pairs_kept:,} kept pairs\n"
            f"undo with: coupled rollback {was} --dataset {dataset}"
        )
    terminal.print_json({"dataset": store.uri, "snapshot_id": target.snapshot_id, "previous": was})


def _line(facts: SnapshotSummary) -> str:
    if facts.damage:
        return f"! {facts.snapshot_id:<31}{facts.damage}"
    mark = {"current": "*", "history": " "}.get(facts.state, "-")
    details = "".join(f" {key}={value}" for key, value in (facts.details or {}).items())
    return (
        f"{mark} {facts.snapshot_id:<31}{facts.action:<10}{facts.num_rows:>10,}"
        f"{facts.num_kept:>10,}  {facts.parent or '(first)'}{details}"
    )


def _render(diff: SnapshotDiff) -> str:
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


def _verdict(verdict: PairState | None) -> str:
    if verdict is None:
        return "absent"
    return "kept" if verdict.kept else ", ".join(verdict.reasons)


def _plain(changes: tuple[Change, ...]) -> list[dict[str, object]]:
    return [
        {"pair_id": name, "before": old and old._asdict(), "after": new and new._asdict()}
        for name, old, new in changes
    ]
