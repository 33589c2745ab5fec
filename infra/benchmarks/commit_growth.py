"""What one more shard costs a dataset that has many: calls to the store and CPU.

    python -m infra.benchmarks.commit_growth [--shards 10 100 400 1000] [--repeats 3] [--json]

Each dataset is made of small shards (five rows, two of them kept) in a folder, in one commit; then
further shards are committed one at a time. Calls are those that the commit itself makes to its
store, whatever its kind. What is uploaded before the commit is not counted. The planner's look at
the ids that are there is counted apart, and so is a reader of all rows and columns, before
`coupled compact` and after.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.reader import current_snapshot, find_snapshot, iter_manifest
from coupled_core.dataset.upkeep.compact import compact
from coupled_core.runs.plan import committed_pair_ids
from coupled_core.storage.local import LocalStore
from infra.benchmarks.arguments import build_parser
from tests.counted_store import CountedStore
from tests.sample_shards import describe_run, publish


def measure(num_shards: int, repeats: int) -> dict[str, Any]:
    """Return what commits of one shard onto `num_shards` cost, and the look of a planner."""
    with tempfile.TemporaryDirectory() as folder:
        store: Any = CountedStore(LocalStore(Path(folder)))
        run = describe_run("run").model_copy(update={"config": {"duplicates": {}}})
        commit_shards(store, [publish(store, "run", index) for index in range(num_shards)], run)
        calls, seconds = [], []
        for index in range(num_shards, num_shards + repeats):
            shard = publish(store, "run", index)
            spent = _measure(store, lambda shard=shard: commit_shards(store, [shard], run))
            calls.append(spent[0])
            seconds.append(spent[1])
        planner = _measure(store, lambda: committed_pair_ids(store, current_snapshot(store)))
        many = [_measure(store, lambda: _read_all(store)) for _ in range(repeats)]
        compaction = _measure(store, lambda: compact(store))
        few = [_measure(store, lambda: _read_all(store)) for _ in range(repeats)]
        last = publish(store, "run", num_shards + repeats)
        after = _measure(store, lambda: commit_shards(store, [last], run))
    return {
        "shards": num_shards,
        "calls": calls,
        "cpu_seconds": statistics.median(seconds),
        "cpu_seconds_range": [min(seconds), max(seconds)],
        "planner_calls": planner[0],
        "planner_cpu_seconds": planner[1],
        "read_calls": many[0][0],
        "read_cpu_seconds": [seconds for _, seconds in many],
        "compact_calls": compaction[0],
        "compact_cpu_seconds": compaction[1],
        "compacted_read_calls": few[0][0],
        "compacted_read_cpu_seconds": [seconds for _, seconds in few],
        "compacted_commit_calls": after[0],
        "compacted_commit_cpu_seconds": after[1],
    }


def _read_all(store: Any) -> None:
    parts = find_snapshot(store).parts_of("manifest")
    num_read = sum(batch.num_rows for batch in iter_manifest(store, parts))
    assert num_read == sum(part.num_rows for part in parts), "all rows are read"


def _measure(store: CountedStore, act: Callable[[], Any]) -> tuple[int, float]:
    store.calls.clear()
    started_at = time.process_time()
    act()
    return store.calls.total(), time.process_time() - started_at


def main() -> None:
    """Measure, and print a row for each size of the dataset."""
    parser = build_parser(__doc__)
    parser.add_argument(
        "--shards",
        type=int,
        nargs="+",
        default=[10, 100, 400, 1000],
        metavar="N",
        help="shards that are there",
    )
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="further shards")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    found = [measure(num_shards, options.repeats) for num_shards in options.shards]
    if options.json:
        print(json.dumps({"commit_growth": found}))
        return
    for row in found:
        low, high = row["cpu_seconds_range"]
        print(
            f"onto {row['shards']:>6,} shards: {row['calls'][-1]:>6,} calls, "
            f"{row['cpu_seconds']:.2f} s of CPU [{low:.2f}, {high:.2f}]; planner "
            f"{row['planner_calls']:,} calls, {row['planner_cpu_seconds']:.2f} s"
        )
        many, few = (
            statistics.median(row[f"{name}_cpu_seconds"]) for name in ("read", "compacted_read")
        )
        print(
            f"  all rows read: {row['read_calls']:,} calls, {many:.2f} s of CPU; compacted (by "
            f"{row['compact_calls']:,} calls, {row['compact_cpu_seconds']:.2f} s): "
            f"{row['compacted_read_calls']:,} calls, {few:.2f} s, and a commit "
            f"{row['compacted_commit_calls']:,} calls, {row['compacted_commit_cpu_seconds']:.2f} s"
        )


if __name__ == "__main__":
    main()
