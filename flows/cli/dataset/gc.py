"""`coupled gc`: what can go, and away with it when asked."""

from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from coupled_core.config import Retention
from coupled_core.storage.store import ObjectStore
from flows.cli.command import command, option
from flows.cli.terminal import Terminal

if TYPE_CHECKING:  # what imports arrow waits until the command runs
    from coupled_core.dataset.upkeep.gc import GarbagePlan

_MAX_NAMED = 5


@command(examples="coupled gc pairs --keep-snapshots 10 --older-than 30 --apply")
def gc(
    terminal: Terminal,
    store: ObjectStore,
    retention: Retention,
    apply: Annotated[
        bool, option("Remove it, or only say what would be removed.", "--apply/--dry-run")
    ] = False,
) -> None:
    """Say what nothing names any more, or remove it: parts, finished work, leftovers of crashes.

    The current snapshot, the previous one, and all that a snapshot that stays or unfinished work
    names are never touched. Without --keep-snapshots and --older-than every snapshot stays; with
    both, one goes only if both let it.
    """
    from coupled_core.dataset.upkeep.gc import collect_garbage, plan_gc

    with terminal.progress():
        plan = plan_gc(store, retention, datetime.now(UTC))
        if apply:
            collect_garbage(store, plan)
    document = {
        "dataset": store.uri,
        "is_dry_run": not apply,
        "retained_snapshots": plan.retained,
        "removed_snapshots": plan.snapshots,
        "size_bytes": plan.size_bytes,
        "objects": [asdict(removal) for removal in plan.removals],
        "foreign": plan.foreign,
    }
    terminal.answer(_render(plan, retention.grace, is_real=apply), document)


def _render(plan: "GarbagePlan", grace_hours: float, *, is_real: bool) -> str:
    counts = Counter(removal.why.value for removal in plan.removals)
    sizes: Counter[str] = Counter()
    for removal in plan.removals:
        sizes[removal.why.value] += removal.size_bytes
    lines = [f"{count:>9,} {sizes[why]:>16,} bytes  {why}" for why, count in counts.items()]
    verb = "removed" if is_real else "would remove"
    total = f"{verb} {len(plan.removals):,} objects, {plan.size_bytes:,} bytes"
    kept = (
        f"{len(plan.retained):,} snapshots stay, {len(plan.snapshots):,} go; "
        f"whatever is younger than {grace_hours:g} hours stays"
    )
    foreign = [f"not ours, and left alone: {key}" for key in plan.foreign[:_MAX_NAMED]]
    if len(plan.foreign) > _MAX_NAMED:
        foreign.append(f"and {len(plan.foreign) - _MAX_NAMED:,} more, which --json lists")
    hint = [] if is_real or not plan.removals else ["nothing was removed yet: add --apply"]
    return "\n".join([*lines, total, kept, *foreign, *hint])
