"""What nothing names any more, listed or removed."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from coupled_core.config import Retention
from coupled_core.dataset.upkeep import gc
from coupled_core.storage.open_store import open_store
from flows.policy import observed_flow
from tasks.announce import show_table


@observed_flow("collect-garbage", "gc", "dataset")
def collect_garbage(
    dataset: str = "coupled-dataset",
    apply: bool = False,
    retention: Retention | None = None,
) -> dict[str, Any]:
    """List what can go, or remove it: parts, finished work, leftovers of crashes.

    Args:
        dataset: A folder or s3://BUCKET/PREFIX.
        apply: Remove it; otherwise only say what would be removed.
        retention: What stays beyond what always does. Empty: every snapshot, what was written
            within a day, and work of unfinished shards.
    """
    store = open_store(dataset)
    plan = gc.plan_gc(store, retention or Retention(), datetime.now(UTC))
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
