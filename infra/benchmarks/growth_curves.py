"""How planning, committing and verifying grow with the rows, and committing with the processes.

    python -m infra.benchmarks.growth_curves [--rows 1000 10000 100000] [--processes 1 2 3 4]
        [--shard-rows 1000] [--repeats 3] [--json] [--keep FILE] [--picture FILE] [--from FILE]

Rows have no images, so that what is measured is what the rows cost. `plan`: `coupled plan` of as
many groups, its start included. `commit`: shards uploaded and committed one by one into one
dataset. `verify`: that dataset. Each is in seconds of the CPU; a million rows and more are measured
once. `processes`: the same shards divided among so many processes that commit to one dataset at the
same time, in seconds of the clock, too. --keep writes what was found, and --from draws it again.
"""

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.commit.publish import ensure_conditional_writes
from coupled_core.dataset.commit.upload import upload_shard
from coupled_core.dataset.reader import find_snapshot
from coupled_core.dataset.upkeep.verify import verify_snapshot
from coupled_core.storage.local import LocalStore
from infra.benchmarks import plan_run
from infra.benchmarks.arguments import build_parser
from tests.sample_shards import describe_run, make_rows, vary_row

_RUN = describe_run("run").model_copy(update={"config": {"duplicates": {}}})
_COLORS = {"plan": "#3f6fb5", "commit": "#c98a2b", "verify": "#4f9a5b"}


def commit_rows(folder: Path, shards: Sequence[int], shard_rows: int) -> dict[str, float]:
    """Upload and commit shards one by one; making their rows does not count."""
    store = LocalStore(folder)
    ensure_conditional_writes(store, single_writer=False)
    template = make_rows("run", 0, num_kept=0, num_dropped=1).rows[0]
    cpu = wall = 0.0
    for index in shards:
        numbers = range(index * shard_rows, (index + 1) * shard_rows)
        pairs = [(vary_row(template, number), None) for number in numbers]
        began, began_cpu = time.monotonic(), time.process_time()
        shard = upload_shard(store, pairs, run_id="run", shard_index=index)
        commit_shards(store, [shard], _RUN)
        wall, cpu = wall + time.monotonic() - began, cpu + time.process_time() - began_cpu
    return {"cpu_seconds": cpu, "wall_seconds": wall}


def measure_rows(num_rows: int, shard_rows: int, repeats: int) -> Iterator[dict[str, Any]]:
    """Plan so many groups, commit so many rows, verify them."""
    found: dict[str, list[float]] = {name: [] for name in _COLORS}
    num_shards = -(-num_rows // shard_rows)
    for _ in range(repeats):
        found["plan"].append(plan_run.measure(num_rows)["cpu_seconds"])
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            spent = commit_rows(folder, range(num_shards), min(shard_rows, num_rows))
            found["commit"].append(spent["cpu_seconds"])
            store, began = LocalStore(folder), time.process_time()
            assert verify_snapshot(store, find_snapshot(store)).is_whole
            found["verify"].append(time.process_time() - began)
    for what, seconds in found.items():
        yield {"what": what, "rows": num_rows, "cpu_seconds": seconds}


def measure_processes(num_processes: int, num_shards: int, shard_rows: int) -> dict[str, float]:
    """Divide shards among processes that commit to one dataset at the same time."""
    with tempfile.TemporaryDirectory() as folder, get_context("spawn").Pool(num_processes) as pool:
        pool.map(_warm_up, range(num_processes), 1)
        work = [range(number, num_shards, num_processes) for number in range(num_processes)]
        done = pool.starmap(commit_rows, [(Path(folder), each, shard_rows) for each in work], 1)
        store = LocalStore(Path(folder))
        found = sum(part.num_rows for part in find_snapshot(store).parts_of("manifest"))
        assert found == num_shards * shard_rows, "every row is there once"
    return {
        # Of the process that took longest; its rows are made before the clock runs.
        "wall_seconds": max(each["wall_seconds"] for each in done),
        "cpu_seconds": sum(each["cpu_seconds"] for each in done),
    }


def _warm_up(_number: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        commit_rows(Path(folder), [0], 10)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all; the processes in turn, so that each number of them meets the same machine."""
    rows: list[dict[str, Any]] = []
    for num_rows in options.rows:
        repeats = options.repeats if num_rows < 1_000_000 else 1
        rows += measure_rows(num_rows, options.shard_rows, repeats)
    num_shards = options.shards
    runs: dict[int, list[dict[str, float]]] = {number: [] for number in options.processes}
    for _ in range(options.repeats):
        for number, found in runs.items():
            found.append(measure_processes(number, num_shards, options.shard_rows))
    return {
        "rows": rows,
        "processes": [{"processes": number, "runs": found} for number, found in runs.items()],
        "process_rows": num_shards * options.shard_rows,
        "shard_rows": options.shard_rows,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0]),
    }


class _Axis:
    """The ends of an axis, and whether equal steps are equal factors."""

    def __init__(self, low: float, high: float, *, is_log: bool) -> None:
        self._scale = math.log10 if is_log else float
        self.low, self.high = low, high

    def share(self, value: float) -> float:
        """Return how far along the axis a value lies, [0, 1]."""
        value, low, high = map(self._scale, (value, self.low, self.high))
        return (value - low) / (high - low)


class _Panel:
    """Axes of a diagram, and what is drawn there."""

    def __init__(self, left: int, title: str, x: _Axis, y: _Axis, legend: tuple[int, int]) -> None:
        self.left, self.top, self.width, self.height = left, 64, 380, 270
        self._x, self._y = x, y
        self._legend = left + legend[0], self.top + legend[1]
        self.parts = [f'<text class="head" x="{left}" y="34">{title}</text>']

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return where a point lies on the page."""
        across, up = self._x.share(x), self._y.share(y)
        return self.left + across * self.width, self.top + (1 - up) * self.height

    def draw_grid(
        self, x_ticks: Mapping[float, str], y_ticks: Mapping[float, str], x_name: str, y_name: str
    ) -> None:
        """Draw lines with their values, and what the axes are."""
        right, bottom = self.left + self.width, self.top + self.height
        for value, text in x_ticks.items():
            x, _ = self.place(value, self._y.low)
            self.parts.append(f'<path class="grid" d="M{x:.1f} {self.top}V{bottom}"/>')
            self._write(text, x, bottom + 19, "middle")
        for value, text in y_ticks.items():
            _, y = self.place(self._x.low, value)
            self.parts.append(f'<path class="grid" d="M{self.left} {y:.1f}H{right}"/>')
            self._write(text, self.left - 8, y + 4, "end")
        self._write(x_name, self.left + self.width / 2, bottom + 42, "middle")
        self._write(y_name, self.left - 40, self.top - 12, "start")

    def draw_curve(
        self, points: Sequence[tuple[float, Sequence[float]]], color: str, name: str, row: int
    ) -> None:
        """Draw medians, joined, with their ranges; the name goes into the legend."""
        middles = [self.place(x, statistics.median(values)) for x, values in points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in middles)
        style = f'fill="none" stroke="{color}" stroke-width="2"'
        self.parts.append(f'<polyline points="{line}" {style}/>')
        for (x, values), (at, y) in zip(points, middles, strict=True):
            low, high = self.place(x, min(values))[1], self.place(x, max(values))[1]
            self.parts.append(f'<path d="M{at:.1f} {low:.1f}V{high:.1f}" {style}/>')
            self.parts.append(f'<circle cx="{at:.1f}" cy="{y:.1f}" r="3.5" fill="{color}"/>')
        x, y = self._legend[0], self._legend[1] + 20 * row
        self.parts.append(f'<path d="M{x} {y - 4}h22" {style}/>')
        self._write(name, x + 30, y, "start")

    def _write(self, text: str, x: float, y: float, anchor: str) -> None:
        where = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
        self.parts.append(f"<text {where}>{text}</text>")


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Draw both diagrams side by side."""
    body = "\n".join([*_draw_rows(found["rows"]).parts, *_draw_processes(found).parts])
    path.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 400" width="1000" height="400" '
        'role="img" aria-labelledby="t" font-family="system-ui, Helvetica, Arial, DejaVu Sans, '
        'sans-serif">\n<title id="t">Seconds of planning, committing and verifying by the number '
        "of rows, and of committing by the number of processes</title>\n"
        "<style>.page { fill: #fff } text { fill: #14181f; font-size: 13px } "
        ".head { font-weight: 600 } .grid { stroke: #8a93a0; stroke-opacity: .35 } "
        "@media (prefers-color-scheme: dark) { .page { fill: #0d1117 } text { fill: #e6ebf1 } }"
        f'</style>\n<rect class="page" width="1000" height="400"/>\n{body}\n</svg>\n'
    )


def _draw_rows(rows: Sequence[Mapping[str, Any]]) -> _Panel:
    sizes = sorted({row["rows"] for row in rows})
    seconds = [second for row in rows for second in row["cpu_seconds"]]
    x, y = _decades(sizes), _decades(seconds)
    axes = _Axis(x[0], x[-1], is_log=True), _Axis(y[0], y[-1], is_log=True)
    panel = _Panel(80, "One process, by the number of rows", *axes, legend=(280, 216))
    panel.draw_grid(
        {value: f"{value:,.0f}" for value in x},
        {value: f"{value:g}" for value in y},
        "rows (groups, for planning)",
        "seconds of the CPU",
    )
    for number, (what, color) in enumerate(_COLORS.items()):
        points = [(row["rows"], row["cpu_seconds"]) for row in rows if row["what"] == what]
        panel.draw_curve(points, color, what, number)
    return panel


def _draw_processes(found: Mapping[str, Any]) -> _Panel:
    runs = {row["processes"]: row["runs"] for row in found["processes"]}
    title = f"Committing {found['process_rows']:,} rows, {found['cores']} shared cores"
    y = _decades([run[clock] for each in runs.values() for run in each for clock in _CLOCKS])
    axes = _Axis(0.5, max(runs) + 0.5, is_log=False), _Axis(y[0], y[-1], is_log=True)
    panel = _Panel(580, title, *axes, legend=(170, 18))
    ticks = {value: f"{value:g}" for value in y}
    panel.draw_grid({number: str(number) for number in runs}, ticks, "processes", "seconds")
    for number, (clock, (name, color)) in enumerate(_CLOCKS.items()):
        points = [(count, [run[clock] for run in each]) for count, each in runs.items()]
        panel.draw_curve(points, color, name, number)
    return panel


_CLOCKS = {
    "wall_seconds": ("of the clock", _COLORS["commit"]),
    "cpu_seconds": ("of the CPU, all processes", _COLORS["plan"]),
}


def _decades(values: Sequence[float]) -> list[float]:
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    return [10.0**power for power in range(low, max(high, low + 1) + 1)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or take what was measured; print, keep and draw it."""
    parser = build_parser(__doc__)
    parser.add_argument(
        "--rows",
        type=int,
        nargs="+",
        default=[1000, 10_000, 100_000],
        metavar="N",
        help="rows, or groups that are planned",
    )
    parser.add_argument(
        "--processes",
        type=int,
        nargs="+",
        default=[1, 2, 3, 4],
        metavar="N",
        help="processes that commit side by side",
    )
    parser.add_argument(
        "--shards", type=int, default=24, metavar="N", help="shards that the processes divide"
    )
    parser.add_argument(
        "--shard-rows", type=int, default=1000, metavar="N", help="rows of each shard"
    )
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="runs of each")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write what was found, as JSON")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw it as an SVG")
    parser.add_argument(
        "--from",
        type=Path,
        dest="kept",
        metavar="FILE",
        help="do not measure; take what --keep wrote",
    )
    options = parser.parse_args(arguments)
    found = json.loads(options.kept.read_text()) if options.kept else measure(options)
    if options.keep:
        options.keep.write_text(json.dumps(found, indent=1) + "\n")
    if options.picture:
        draw(found, options.picture)
    if options.json:
        print(json.dumps({"growth_curves": found}))
        return
    for row in found["rows"]:
        print(f"{row['what']:<8} {row['rows']:>9,} rows: {_spread(row['cpu_seconds'])} s of CPU")
    for row in found["processes"]:
        cells = [f"{_spread([run[clock] for run in row['runs']])} s {clock}" for clock in _CLOCKS]
        print(f"{row['processes']} processes, {found['process_rows']:,} rows: {', '.join(cells)}")


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


if __name__ == "__main__":
    main()
