"""What a shard costs beside its denoising: one stage after another, and as a pipeline.

    python -m infra.benchmarks.shard_pipeline [--wait-seconds 8] [--side-px 1024] [--repeats 4]
        [--threads 1] [--json] [--trace FILE] [--picture FILE]

Both ways make the same shard in turn in one process, the models loaded before, and must store the
same bytes. The generator is the miniature on the CPU; with --wait-seconds it is a stand-in for one
on a GPU: it waits so long a batch and hands over drawn pictures, and everything behind it is real
work of this machine. Shown are the seconds of the shard over those of its generator, the share of
the time in which the generator, and so its device, had nothing to do, and the seconds of CPU.
--trace writes Chrome's trace format, --picture an SVG, both of the last run each way.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image

from coupled_core.config import RunConfig
from coupled_core.dataset.work import GENERATED, SCORED
from coupled_core.generation.sampler import OnStep
from coupled_core.progress import SilentProgress
from coupled_core.prompts.files import list_input_files
from coupled_core.records import GeneratedSample, Sample
from coupled_core.research.drawn_world.render import draw_scene
from coupled_core.research.drawn_world.scenes import Scene, sample_scene
from coupled_core.runs import steps
from coupled_core.runs.checkpoints import write_scored
from coupled_core.runs.models import generation_of
from coupled_core.runs.pipeline import ShardModels, make_batches
from coupled_core.runs.plan import plan_run
from coupled_core.runs.shard import ShardWork
from coupled_core.runs.stages import read_outcomes, score_sample, store_batch
from coupled_core.runs.trace import Span
from infra.benchmarks.arguments import build_parser

_COLORS = {"generate": "#3f6fb5", "store": "#c98a2b", "score": "#4f9a5b"}
_LANES = tuple(_COLORS)


class WaitingGenerator:
    """Stands in for a generator on a GPU: costs this machine nothing but time."""

    def __init__(self, seconds: float, side_px: int) -> None:
        self._seconds, self._side_px = seconds, side_px
        self._drawn: dict[int, GeneratedSample] = {}

    def draw(self, samples: Iterable[Sample]) -> None:
        """Draw the pictures of samples, before anything is measured."""
        for sample in (each for each in samples if each.seed not in self._drawn):
            rng = np.random.default_rng(sample.seed)
            picture = draw_picture(rng, sample_scene(rng, dependence=0.0), self._side_px)
            self._drawn[sample.seed] = GeneratedSample(
                tuple(picture for _ in sample.group.prompts), self._seconds, "stand-in"
            )

    def read_ahead(self, samples: Sequence[Sample]) -> None:
        """Nothing is read."""

    def generate(self, samples: Sequence[Sample], on_step: OnStep) -> list[GeneratedSample]:
        """Wait, and tell of ten steps."""
        for step in range(10):
            time.sleep(self._seconds / 10)
            on_step(step + 1, 10)
        return [self._drawn[sample.seed] for sample in samples]


def draw_picture(rng: np.random.Generator, scene: Scene, side_px: int) -> np.ndarray:
    """Return a scene of the miniature's world, enlarged and with noise: uint8, (H, W, 3)."""
    drawn = Image.fromarray(draw_scene(scene)[0])
    large = np.asarray(drawn.resize((side_px, side_px), Image.Resampling.BICUBIC))
    noise = rng.normal(0, 2, large.shape)  # as photographs have
    return np.asarray(np.clip(large + noise, 0, 255), dtype=np.uint8)


def make_serially(work: ShardWork, models: ShardModels) -> None:
    """Generate and store all batches, then read and score them, as there are no threads."""
    generator, scorer = models.load_generator(), models.load_scorer()
    batches = work.attempt(1).batches
    for batch in batches:
        with work.doing("generate", batch.index):
            made = generator.generate(list(batch.samples.values()), lambda _step, _of: None)
        with work.doing("store", batch.index):
            store_batch(work, batch, dict(zip(batch.samples, made, strict=True)))
    for batch in batches:
        with work.doing("score", batch.index):
            scored = {
                key: score_sample(scorer, None, batch.samples[key], outcome)
                if isinstance(outcome, GeneratedSample)
                else None
                for key, outcome in read_outcomes(work, batch).items()
            }
            write_scored(work.folder, batch.index, scored)


def make_as_pipeline(work: ShardWork, models: ShardModels) -> None:
    """Do what a build does."""
    make_batches(work, models, SilentProgress())


WAYS: Mapping[str, Callable[[ShardWork, ShardModels], None]] = {
    "serial": make_serially,
    "pipeline": make_as_pipeline,
}


class Shard:
    """One shard to be made again and again, each time in a folder of its own."""

    def __init__(self, num_groups: int, batch_size: int, steps: int | None) -> None:
        self._num_groups = num_groups
        self._generation = {"batch_size": batch_size, "num_inference_steps": steps}

    def open(self, folder: Path) -> ShardWork:
        """Plan and split it."""
        prompts = folder / "prompts.parquet"
        (shipped,) = list_input_files("miniature-test")
        with shipped.store.open_input(shipped.key) as source:
            pq.write_table(pq.read_table(source).slice(0, self._num_groups), prompts)
        config = RunConfig.model_validate(
            {
                "output": {"uri": str(folder / "pairs"), "shard_size": self._num_groups},
                "prompts": {"uri": str(prompts)},
                "generation": self._generation,
                "split": {"splitter": "offline"},
            }
        )
        run = plan_run(config, generation_of(config.generation))
        work = ShardWork(config, run.shards[0], run.generation)
        steps.split(work)
        work.trace.spans.clear()
        return work


def measure(
    shard: Shard, models_of: Callable[[ShardWork], ShardModels], repeats: int
) -> dict[str, list[dict[str, Any]]]:
    """Make the shard both ways in turn, each first as often; return what each run took."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in WAYS}
    for repeat in range(-1, repeats):  # the first warms up
        stored = []
        ways = list(WAYS.items())
        for name, make in ways if repeat % 2 else reversed(ways):
            with tempfile.TemporaryDirectory() as folder:
                work = shard.open(Path(folder))
                models = models_of(work)
                began, cpu = time.monotonic(), time.process_time()
                make(work, models)
                wall, cpu = time.monotonic() - began, time.process_time() - cpu
                stored.append(_what_is_stored(work))
            if repeat >= 0:
                found[name].append({"cpu_seconds": cpu, **_describe(work.trace.spans, began, wall)})
        assert stored[0] == stored[1], "both ways must store the same"
    return found


def load_models(work: ShardWork, stand_in: WaitingGenerator | None = None) -> ShardModels:
    """Load what makes and judges a shard, before anything is measured."""
    models = steps.models_for(work.config)
    if stand_in is None:
        models.load_generator()
    else:
        stand_in.draw(work.attempt(1).samples.values())
        models = ShardModels(lambda: stand_in, models.load_scorer)  # type: ignore[arg-type,return-value]
    models.load_scorer()
    return models


def _what_is_stored(work: ShardWork) -> list[Any]:
    """Return all tables without the seconds that an image took."""
    tables = []
    for batch in work.attempt(1).batches:
        for stage in (GENERATED, SCORED):
            table = work.folder.read_table(stage, batch.index)
            assert table is not None, "every batch was made"
            tables.append(table.drop([n for n in ("generate_seconds",) if n in table.column_names]))
    return tables


def _describe(spans: Sequence[Span], began: float, wall: float) -> dict[str, Any]:
    seconds = {lane: sum(s.ended - s.began for s in spans if s.stage == lane) for lane in _LANES}
    return {
        "wall_seconds": wall,
        "seconds": seconds,
        "wall_over_generating": wall / seconds["generate"],
        "device_waits": 1 - seconds["generate"] / wall,
        "spans": [[s.stage, s.batch, s.began - began, s.ended - began] for s in spans],
    }


def summarise(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return medians and ranges of each way, and of the ratio of both, run by run."""
    names = ("wall_over_generating", "device_waits", "wall_seconds", "cpu_seconds")
    rows = {
        way: {name: _spread([run[name] for run in runs]) for name in names}
        for way, runs in found.items()
    }
    both = list(zip(found["pipeline"], found["serial"], strict=True))
    wall, cpu = (
        _spread([pipeline[name] / serial[name] for pipeline, serial in both])
        for name in ("wall_seconds", "cpu_seconds")
    )
    return {**rows, "pipeline_over_serial": wall, "cpu_over_serial": cpu, "n": len(both)}


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def write_trace(found: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Write the last run each way in the format that chrome://tracing and Perfetto read."""
    events = [
        {
            "name": f"{stage} batch {batch}",
            "ph": "X",
            "pid": way,
            "tid": stage,
            "ts": began * 1e6,
            "dur": (ended - began) * 1e6,
        }
        for way, runs in found.items()
        for stage, batch, began, ended in runs[-1]["spans"]
    ]
    path.write_text(json.dumps({"traceEvents": events}))


def draw_timeline(found: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Draw the last run each way, one under the other, on one scale of seconds."""
    left, width, lane, gap = 100, 860, 26, 58
    longest = max(runs[-1]["wall_seconds"] for runs in found.values())
    scale, height = width / longest, 34 + len(found) * (gap + lane * len(_LANES))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1000 {height}" width="1000" '
        f'height="{height}" role="img" aria-labelledby="t" '
        'font-family="system-ui, Helvetica, Arial, DejaVu Sans, sans-serif">',
        '<title id="t">When the stages of a shard were at work, serially and as a pipeline</title>',
        "<style>.page { fill: #fff } text { fill: #14181f; font-size: 13px } "
        ".head { font-weight: 600 } .in { fill: #fff; font-size: 11px } "
        "@media (prefers-color-scheme: dark) { .page { fill: #0d1117 } text { fill: #e6ebf1 } }"
        "</style>",
        f'<rect class="page" width="1000" height="{height}"/>',
    ]
    for number, (way, runs) in enumerate(found.items()):
        run, top = runs[-1], 30 + number * (gap + lane * len(_LANES))
        head = f"{way}: {run['wall_seconds']:.1f} s, device waits {run['device_waits']:.0%}"
        parts.append(f'<text class="head" x="{left}" y="{top}">{head}</text>')
        for row, stage in enumerate(_LANES):
            y = top + 10 + row * lane
            parts.append(f'<text x="14" y="{y + 16}">{stage}</text>')
            for _, batch, began, ended in (s for s in run["spans"] if s[0] == stage):
                x, wide = left + began * scale, max((ended - began) * scale, 1.0)
                parts.append(
                    f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="{lane - 5}" rx="2" '
                    f'fill="{_COLORS[stage]}" stroke="#fff" stroke-width=".5"/>'
                )
                if wide > 14:
                    parts.append(f'<text class="in" x="{x + 4:.1f}" y="{y + 15}">{batch}</text>')
    path.write_text("\n".join([*parts, "</svg>"]) + "\n")


def _print(summary: Mapping[str, Any]) -> None:
    for way in WAYS:
        cells = [
            f"{name} {each['median']:.2f} [{each['least']:.2f}, {each['most']:.2f}]"
            for name, each in summary[way].items()
        ]
        print(f"{way:<10}", "  ".join(cells))
    for name, what in (("pipeline_over_serial", "wall"), ("cpu_over_serial", "CPU")):
        ratio = summary[name]
        spread = f"{ratio['median']:.2f} [{ratio['least']:.2f}, {ratio['most']:.2f}]"
        print(f"pipeline / serial, {what}: {spread}, n = {summary['n']}; both stored the same")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = build_parser(__doc__)
    parser.add_argument("--groups", type=int, default=8, metavar="N", help="groups of the shard")
    parser.add_argument(
        "--batch-size", type=int, default=2, metavar="N", help="groups that are made together"
    )
    parser.add_argument(
        "--steps", type=int, metavar="N", help="denoising steps (default: the miniature's)"
    )
    parser.add_argument(
        "--wait-seconds",
        type=float,
        metavar="X",
        help="take a stand-in for a GPU, which waits so long a batch",
    )
    parser.add_argument(
        "--side-px", type=int, default=1024, metavar="N", help="width of the stand-in's pictures"
    )
    parser.add_argument("--repeats", type=int, default=4, metavar="N", help="runs each way")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="threads of torch (default: its own number)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--trace", type=Path, metavar="FILE", help="write when each stage was at work"
    )
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw that as an SVG")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    stand_in = None
    if options.wait_seconds is not None:
        stand_in = WaitingGenerator(options.wait_seconds, options.side_px)
    shard = Shard(options.groups, options.batch_size, options.steps)
    found = measure(shard, partial(load_models, stand_in=stand_in), options.repeats)
    if options.trace:
        write_trace(found, options.trace)
    if options.picture:
        draw_timeline(found, options.picture)
    summary = summarise(found)
    if options.json:
        print(json.dumps({"shard_pipeline": summary}))
    else:
        _print(summary)


if __name__ == "__main__":
    main()
