"""All goals of speed that one machine without a GPU can show, each measured in this run.

    python -m infra.benchmarks [--only commits manifest ...] [--repeats 3] [--json]

Ratios are of runs in turn in one process, medians with their ranges. Seconds are those of the CPU,
which others on the machine disturb least, but for the shard, whose threads work side by side. What
each row means stands in the program of its own that it takes from this folder; there sizes can be
chosen, too. All rows take some ten minutes of a quiet machine, and 1.5 GB of memory.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from coupled_core.coupling.weighted_attention import TextLayout, attend_log_bias
from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.commit.upload import upload_shard
from coupled_core.dataset.reader import current_snapshot
from coupled_core.dataset.upkeep.verify import verify_snapshot
from coupled_core.schedules.schedule import RegionSettings
from coupled_core.storage.local import LocalStore
from infra.benchmarks import (
    commit_growth,
    compilations,
    duplicate_search,
    near_backgrounds,
    plan_run,
    shard_pipeline,
    step_cost,
)
from infra.benchmarks.arguments import build_parser
from tests.sample_shards import describe_run, make_rows, publish, vary_row


@dataclass(frozen=True)
class Figure:
    """One row of the table."""

    what: str
    values: Sequence[float]
    goal: float
    is_least: bool = False
    """Whether the goal is a lower bound, as of rates."""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def is_reached(self) -> bool:
        return self.median >= self.goal if self.is_least else self.median <= self.goal

    def describe(self) -> dict[str, Any]:
        """Return it as it stands in JSON."""
        return {**asdict(self), "median": self.median, "is_reached": self.is_reached}

    def __str__(self) -> str:
        sign, verdict = "><"[not self.is_least] + "=", "yes" if self.is_reached else "NO"
        spread = f"[{min(self.values):,.3g}, {max(self.values):,.3g}]"
        figure = f"{self.median:,.3g} {spread}, n = {len(self.values)}"
        return f"{self.what:<58} {figure:<34} {sign} {self.goal:<8,g} {verdict}"


def measure_shard(repeats: int) -> Iterator[Figure]:
    """Make a shard serially and as a pipeline, on the CPU alone."""
    shard = shard_pipeline.Shard(num_groups=2, batch_size=1, steps=None)
    found = shard_pipeline.measure(shard, shard_pipeline.load_models, repeats)
    pipeline, serial = found["pipeline"], found["serial"]
    over = [run["wall_over_generating"] for run in pipeline]
    yield Figure("shard: wall / generating", over, 1.15)
    for name in ("wall_seconds", "cpu_seconds"):
        ratios = [run[name] / other[name] for run, other in zip(pipeline, serial, strict=True)]
        yield Figure(f"shard: pipeline / serial, {name}", ratios, 1.0)


@torch.no_grad()
def measure_steps(repeats: int) -> Iterator[Figure]:
    """Compare groups of mode region, and middle steps, with the stock model's."""
    transformer, groups = step_cost.build_transformer(), step_cost.build_groups(2)[:1]
    region = RegionSettings(size=0.15, margin=0.0, feather=0.0, read_until=0.7)

    def sample(betas: list[float], region: RegionSettings | None = None) -> Callable[[], None]:
        return lambda: step_cost.sample(transformer, groups, betas, region)

    for what, run, stock, goal in (
        ("region / stock, 20 steps, N = 2", sample([1.0] * 20, region), sample([1.0] * 20), 1.15),
        ("middle step / stock", sample([0.5]), sample([1.0]), 1.2),
    ):
        run(), stock()
        yield Figure(f"{what}: CPU", step_cost.time_ratios(run, stock, 2 * repeats), goal)
        yield Figure(f"{what}: FLOPs", [step_cost.count(run) / step_cost.count(stock)], goal)


@torch.no_grad()
def measure_attention(repeats: int) -> Iterator[Figure]:
    """Compare attention with weights with plain attention to the same rows."""
    for what, heads, head_dim, text, image in (
        ("small", 4, 32, 32, 256),
        ("mid-size", 8, 64, 128, 1024),
    ):
        rows = [torch.randn(2, heads, 2 * text + image, head_dim) for _ in range(3)]
        layout, beta = TextLayout(text, text), torch.tensor(0.4)

        def weighted(rows: Any = rows, beta: Any = beta, layout: Any = layout) -> object:
            return [attend_log_bias(*rows, beta, layout) for _ in range(20)]

        def plain(rows: Any = rows) -> object:
            return [scaled_dot_product_attention(*rows) for _ in range(20)]

        weighted(), plain()
        ratios = step_cost.time_ratios(weighted, plain, 4 * repeats)
        yield Figure(f"attention, weighted / plain, {what}", ratios, 1.3)


def measure_commits(repeats: int) -> Iterator[Figure]:
    """Commit one shard onto 10, 100 and 1,000."""
    for num_shards in (10, 100, 1000):
        found = commit_growth.measure(num_shards, repeats)
        what = f"commit onto {num_shards:,} shards"
        yield Figure(f"{what}: store calls", found["calls"][1:] or found["calls"], 20)
        low, high = found["cpu_seconds_range"]
        yield Figure(f"{what}: seconds", [low, found["cpu_seconds"], high], 0.5)


def measure_manifest(repeats: int) -> Iterator[Figure]:
    """Write, upload and commit the rows of a shard without images."""
    num_rows = 5000
    template = make_rows("run", 0, num_kept=0, num_dropped=1).rows[0]
    run = describe_run("run").model_copy(update={"config": {"duplicates": {}}})
    rates = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            store = LocalStore(Path(folder))
            commit_shards(store, [publish(store, "run", 1)], run)  # what a first commit tries
            pairs = [(vary_row(template, index), None) for index in range(num_rows)]
            started_at = time.process_time()
            shard = upload_shard(store, pairs, run_id="run", shard_index=0)
            commit_shards(store, [shard], run)
            rates.append(num_rows / (time.process_time() - started_at))
    yield Figure("manifest rows committed a second", rates, 20_000, is_least=True)


def measure_verify(repeats: int) -> Iterator[Figure]:
    """Verify 100 shards and 400: linear means that a part costs the same."""
    seconds: dict[int, list[float]] = {}
    for num_shards in (100, 400):
        with tempfile.TemporaryDirectory() as folder:
            store = LocalStore(Path(folder))
            shards = [publish(store, "run", index) for index in range(num_shards)]
            snapshot = commit_shards(store, shards, describe_run("run"))
            assert snapshot is not None and current_snapshot(store) == snapshot
            for _ in range(repeats):
                started_at = time.process_time()
                assert verify_snapshot(store, snapshot).is_whole
                seconds.setdefault(num_shards, []).append(time.process_time() - started_at)
    ratios = [many / few / 4 for few, many in zip(*seconds.values(), strict=True)]
    yield Figure("verify: a part of 400 shards / of 100", ratios, 1.2)


def measure_backgrounds(repeats: int) -> Iterator[Figure]:
    """Look for backgrounds near to 16 new ones."""
    for num_backgrounds in (10_000, 100_000):
        seconds = [near_backgrounds.measure(num_backgrounds)["cpu_seconds"] for _ in range(repeats)]
        yield Figure(f"near backgrounds beside {num_backgrounds:,}: seconds", seconds, 1.0)


def measure_duplicates(repeats: int) -> Iterator[Figure]:
    """Search for duplicates of 1,000 new pairs."""
    for num_pairs in (100_000, 1_000_000):
        runs = duplicate_search.measure(num_pairs, 1000, repeats)
        what = f"1,000 pairs against {num_pairs:,}"
        yield Figure(f"{what}: seconds", [run["cpu_seconds"] for run in runs], 2.0)
        yield Figure(f"{what}: MB", [run["resident_mb"] for run in runs], 500)


def measure_start(repeats: int) -> Iterator[Figure]:
    """Start commands: seconds, memory, and what they import of what takes long."""
    small, large = ([plan_run.measure(n) for _ in range(repeats)] for n in (1, 10_000))
    yield Figure("plan of one group: seconds", [run["cpu_seconds"] for run in small], 2.0)
    yield Figure("plan of 10,000 groups: MB", [run["resident_mb"] for run in large], 250)
    code = (
        "import sys, flows.cli.main as m\n"
        "try: m.main()\nexcept SystemExit: pass\n"
        "print(*{n.partition('.')[0] for n in sys.modules}, file=sys.stderr)"
    )
    for command in ("--help", "plan --help", "build --help"):
        done = subprocess.run(
            [sys.executable, "-P", "-c", code, *command.split()],
            capture_output=True,
            text=True,
            check=True,
        )
        slow = {"torch", "diffusers", "transformers", "open_clip", "prefect", "pandas"}
        found = slow & set(done.stderr.split())
        yield Figure(f"`{command}`: slow libraries imported", [len(found)], 0)


def measure_compilations(_repeats: int) -> Iterator[Figure]:
    """Count what a build of mixed sizes and modes compiles after its first batches."""
    found = compilations.count()
    yield Figure("recompilations after warm-up", [found.after_warm_up], 0)
    yield Figure("graph breaks", [found.graph_breaks], 0)


ROWS: Mapping[str, Callable[[int], Iterator[Figure]]] = {
    "shard": measure_shard,
    "steps": measure_steps,
    "attention": measure_attention,
    "commits": measure_commits,
    "manifest": measure_manifest,
    "verify": measure_verify,
    "backgrounds": measure_backgrounds,
    "duplicates": measure_duplicates,
    "start": measure_start,
    "compilations": measure_compilations,
}


def main() -> None:
    """Measure, and print a row as soon as it is known."""
    parser = build_parser(__doc__)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=ROWS,
        default=list(ROWS),
        metavar="GROUP",
        help="groups of rows",
    )
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="runs of each row")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of torch")
    parser.add_argument("--json", action="store_true", help="print JSON, a line a row")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.only:
        for figure in ROWS[name](options.repeats):
            line = json.dumps({"row": name, **figure.describe()}) if options.json else str(figure)
            print(line, flush=True)


if __name__ == "__main__":
    main()
