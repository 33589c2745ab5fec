"""What `coupled plan` takes to start, and how fast it goes through a prompt set.

    python -m infra.benchmarks.plan_run [--groups 10000 100000] [--repeats 3] [--json]

The command runs in a process of its own on made-up groups of two prompts and an empty dataset. The
rate is that of the groups alone: what one group takes is subtracted as the time to start.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from infra.benchmarks.arguments import build_parser

_PLACES = ("meadow", "lake", "street", "forest", "beach", "harbor", "market", "canyon")
_ENTITIES = ("owl", "fox", "cat", "dog", "horse", "kite", "boat", "car")
_WRITTEN_AT_ONCE = 10_000


def write_prompts(path: Path, num_groups: int) -> None:
    """Write a prompt set, in bounded memory: the process that calls this may be measured."""
    schema = pa.schema([("group_id", pa.string()), ("prompts", pa.list_(pa.string()))])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, num_groups, _WRITTEN_AT_ONCE):
            indices = range(start, min(start + _WRITTEN_AT_ONCE, num_groups))
            names = [f"group-{index}" for index in indices]
            prompts = [_write_group(index) for index in indices]
            writer.write_table(pa.table([names, prompts], schema=schema))


def _write_group(index: int) -> list[str]:
    pair = _ENTITIES[index % 8], _ENTITIES[(index + 3) % 8]
    return [f"a {entity} on a {_PLACES[index % 8]} number {index}" for entity in pair]


def measure(num_groups: int) -> dict[str, float]:
    """Return what a plan costs; in a fresh process, whose only child it is."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (num_groups,))


def _measure(num_groups: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        prompts = Path(folder) / "prompts.parquet"
        write_prompts(prompts, num_groups)
        command = [sys.executable, "-P", "-m", "flows.cli.main", "plan", "--json"]
        command += ["--prompts", str(prompts), "--output", f"{folder}/pairs"]
        subprocess.run(command, capture_output=True, check=True)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"cpu_seconds": usage.ru_utime + usage.ru_stime, "resident_mb": usage.ru_maxrss / 1e3}


def peak_resident_bytes() -> int:
    """Return the largest resident size of this process; ru_maxrss would count its parent's, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def main() -> None:
    """Measure, and print a row for each size of the prompt set."""
    parser = build_parser(__doc__)
    parser.add_argument(
        "--groups",
        type=int,
        nargs="+",
        default=[10_000, 100_000],
        metavar="N",
        help="groups of the prompt sets",
    )
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="runs of each")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    rows = []
    start = statistics.median(measure(1)["cpu_seconds"] for _ in range(options.repeats))
    for num_groups in options.groups:
        runs = [measure(num_groups) for _ in range(options.repeats)]
        seconds = [run["cpu_seconds"] for run in runs]
        rows.append(
            {
                "groups": num_groups,
                "start_cpu_seconds": start,
                "cpu_seconds": statistics.median(seconds),
                "cpu_seconds_range": [min(seconds), max(seconds)],
                "groups_per_cpu_second": num_groups / (statistics.median(seconds) - start),
                "resident_mb": max(run["resident_mb"] for run in runs),
            }
        )
    if options.json:
        print(json.dumps({"plan_run": rows}))
        return
    print(f"to start: {start:.1f} s of CPU")
    for row in rows:
        low, high = row["cpu_seconds_range"]
        print(
            f"{row['groups']:>9,} groups: {row['cpu_seconds']:.1f} s of CPU [{low:.1f}, {high:.1f}]"
            f", {row['groups_per_cpu_second']:,.0f} groups/s, {row['resident_mb']:.0f} MB"
        )


if __name__ == "__main__":
    main()
