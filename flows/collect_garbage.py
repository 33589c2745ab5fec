"""What nothing names any more, listed or removed."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import Field

from coupled_core.dataset.upkeep import gc
from coupled_core.storage.open_store import open_store
from flows.policy import observed_flow
from tasks.announce import show_table

AtLeastOne = Annotated[int, Field(ge=1)]
Days = Annotated[float, Field(ge=0)]


@observed_flow("collect-garbage", "gc", "dataset")
def collect_garbage(
    dataset: str = "coupled-dataset",
    apply: bool = False,
    keep_snapshots: AtLeastOne | None = None,
    older_than_days: Days | None = None,
    grace_hours: Annotated[float, Field(ge=2)] = 24.0,
    abandoned_work_days: Days | None = None,
) -> dict[str, Any]:
    """List what can go, or remove it: parts, finished work, leftovers of crashes.

    Args:
        dataset: A folder or s3://BUCKET/PREFIX.
        apply: Remove it; otherwise only say what would be removed.
        keep_snapshots: Remove snapshots beyond so many of the newest. Empty: none.
        older_than_days: Remove snapshots older than this. Empty: none.
        grace_hours: Nothing that was written within these hours is removed.
        abandoned_work_days: Also remove work of unfinished shards untouched for so long. Empty: no.
    """
    store = open_store(dataset)
    retention = gc.Retention(
        keep_snapshots=keep_snapshots,
        older_than=_days(older_than_days),
        grace=timedelta(hours=grace_hours),
        abandoned_work=_days(abandoned_work_days),
    )
    plan = gc.plan_gc(store, retention, datetime.now(UTC))
    if apply:
        gc.collect_garbage(store, plan)
    facts = {
        "dataset": store.uri,
        "removed" if apply else "would remove": len(plan.removals),
        "bytes": plan.size_bytes,
        "snapshots that go": len(plan.snapshots),
        "snapshots that stay": len(plan.retained),
        **Counter(removal.why.value for removal in plan.removals),
    }
    show_table("garbage", facts, store.uri)
    return facts


def _days(days: float | None) -> timedelta | None:
    return None if days is None else timedelta(days=days)
