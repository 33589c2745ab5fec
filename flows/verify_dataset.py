"""A snapshot, read as a whole: everything that is wrong with it fails the run."""

from typing import Annotated, Any

from pydantic import Field

from coupled_core.dataset.reader import find_snapshot
from coupled_core.dataset.upkeep.verify import require_whole, verify_snapshot
from coupled_core.storage.open_store import open_store
from flows.policy import observed_flow
from tasks.announce import show_table


@observed_flow("verify-dataset", "verify", "dataset")
def verify_dataset(
    dataset: str = "coupled-dataset",
    snapshot: str = "current",
    strict: bool = False,
    threads: Annotated[int, Field(ge=1)] = 4,
) -> dict[str, Any]:
    """Read everything that a snapshot names; fail if anything is wrong with it.

    Args:
        dataset: A folder or s3://BUCKET/PREFIX.
        snapshot: Which state: current, parent, previous, or the beginning of an id.
        strict: Fail where near-identical backgrounds are in different partitions, too.
        threads: Threads that hash and decode images.

    Raises:
        DatasetError: the snapshot is damaged, and where.
    """
    store = open_store(dataset)
    report = verify_snapshot(store, find_snapshot(store, snapshot), num_threads=threads)
    facts = {
        "dataset": store.uri,
        "snapshot": report.snapshot_id,
        "parts": report.num_parts,
        "rows": report.num_rows,
        "pairs decoded": report.num_compared,
        "damage": report.damage.total,
        "near-identical backgrounds in other partitions": len(report.near_backgrounds),
    }
    listed = {f"damage {n}": str(damage) for n, damage in enumerate(report.damage.listed[:50], 1)}
    show_table("verification", {**facts, **listed}, store.uri)
    require_whole(report, store.uri, strict=strict)
    return facts
