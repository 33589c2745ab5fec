"""`coupled gc`: what can go, and away with it when asked."""

from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from coupled_core.dataset.upkeep.gc import GarbagePlan, Retention, collect_garbage, plan_gc
from coupled_core.storage.store import open_store
from flows.cli.terminal import Terminal


def collect_and_report(
    dataset: str,
    keep_snapshots: int | None,
    older_than_days: float | None,
    grace_hours: float,
    abandoned_work_days: float | None,
    *,
    is_real: bool,
    terminal: Terminal,
) -> None:
    """Print what a collection removes, and carry it out if it is not a dry run.

    Raises:
        CoupledError: nobody can tell what is garbage, or another writer was faster.
    """
    store = open_store(dataset)
    retention = Retention(
        keep_snapshots=keep_snapshots,
        older_than=_days(older_than_days),
        grace=timedelta(hours=grace_hours),
        abandoned_work=_days(abandoned_work_days),
    )
    with terminal.progress():
        plan = plan_gc(store, retention, datetime.now(UTC))
        if is_real:
            collect_garbage(store, plan)
    terminal.say(_render(plan, grace_hours, is_real=is_real))
    terminal.print_json(
        {
            "dataset": store.uri,
            "is_dry_run": not is_real,
            "retained_snapshots": plan.retained,
            "removed_snapshots": plan.snapshots,
            "size_bytes": plan.size_bytes,
            "objects": [asdict(removal) for removal in plan.removals],
        }
    )


def _days(days: float | None) -> timedelta | None:
    return None if days is None else timedelta(days=days)


def _render(plan: GarbagePlan, grace_hours: float, *, is_real: bool) -> str:
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
    hint = [] if is_real or not plan.removals else ["nothing was removed yet: add --apply"]
    return "\n".join([*lines, total, kept, *hint])
