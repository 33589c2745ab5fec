"""The same work by us and by the tools that others would take, in turn in one run.

    python -m infra.benchmarks.peers [--only scorer writers builds] [--repeats 3] [--json]

`scorer`: a pair by our scorer, and by a script of segment_anything's and open_clip's own classes
with the same weights: SamAutomaticMaskGenerator on the same grid, then CLIP picks; or one point of
SamPredictor, whose script knows where to look. `writers`: encoded pairs with their rows, uploaded
and committed, and written by `datasets` and by webdataset. `builds`: one build, and two side by
side that divide its shards.

Ratios are ours / theirs (`builds`: two / one), above 1 where the peer is faster; medians and ranges
of runs in turn, by seconds of the CPU and of the clock. All takes two minutes of two cores.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from coupled_core.config import ScoringConfig
from coupled_core.dataset.columns import IMAGE_FIELDS, MANIFEST_SCHEMA
from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.commit.publish import ensure_conditional_writes
from coupled_core.dataset.commit.upload import upload_shard
from coupled_core.dataset.rows import Row
from coupled_core.miniature import miniature_folder
from coupled_core.records import GeneratedSample, GroupSplit, PromptGroup, Sample
from coupled_core.research.drawn_world.captions import write_caption
from coupled_core.research.drawn_world.scenes import sample_scene
from coupled_core.scoring.pair_scorer import load_scorer
from coupled_core.storage.local import LocalStore
from flows.cli.temporary_server import temporary_server
from infra.benchmarks.arguments import build_parser
from infra.benchmarks.bare_script import BareScript
from infra.benchmarks.shard_pipeline import draw_picture
from tests.sample_shards import describe_run, make_rows, with_images

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Seconds:
    """What one run took."""

    cpu: float
    wall: float


@dataclass(frozen=True)
class Comparison:
    """Runs of ours and of a peer, in turn."""

    what: str
    ours: Sequence[Seconds]
    peer: Sequence[Seconds]

    def ratios(self, clock: str) -> list[float]:
        """Return ours / peer, run by run; `clock` is "cpu" or "wall"."""
        pairs = zip(self.ours, self.peer, strict=True)
        return [getattr(ours, clock) / getattr(peer, clock) for ours, peer in pairs]

    def describe(self) -> dict[str, Any]:
        """Return it as it stands in JSON."""
        spreads = {f"{clock}_ratio": _spread(self.ratios(clock)) for clock in ("cpu", "wall")}
        return {**asdict(self), **spreads, "n": len(self.ours)}

    def __str__(self) -> str:
        cells = []
        for clock in ("cpu", "wall"):
            low, middle, high = _spread(self.ratios(clock)).values()
            ours, peer = (
                statistics.median(getattr(run, clock) for run in runs)
                for runs in (self.ours, self.peer)
            )
            ratio = f"{middle:.2f} [{low:.2f}, {high:.2f}]"
            cells.append(f"{clock} {ratio} ({ours:.3g} / {peer:.3g} s)")
        return f"{self.what:<52} {'  '.join(cells)}  n = {len(self.ours)}"


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"least": min(values), "median": statistics.median(values), "most": max(values)}


def _time(run: Callable[[], object]) -> Seconds:
    began, cpu = time.monotonic(), time.process_time()
    run()
    return Seconds(time.process_time() - cpu, time.monotonic() - began)


def compare(
    ours: Callable[[int], object], peers: Mapping[str, Callable[[int], object]], repeats: int
) -> Iterator[Comparison]:
    """Run ours and each peer in turn; each is given the number of the run, from 0."""
    runs: dict[str, list[Seconds]] = {name: [] for name in ("", *peers)}
    for repeat in range(-1, repeats):  # the first warms up
        for name, run in {"": ours, **peers}.items():
            seconds = _time(partial(run, repeat + 1))
            if repeat >= 0:
                runs[name].append(seconds)
    for name in peers:
        yield Comparison(name, runs[""], runs[name])


def compare_scorers(repeats: int, sides_px: Sequence[int] = (64, 512)) -> Iterator[Comparison]:
    """Score pairs, new ones and with new texts in each run, since our scorer remembers texts."""
    scorer, script = load_scorer(ScoringConfig(), "cpu"), BareScript()
    for side_px in sides_px:
        pairs = [_draw_sample(seed, side_px) for seed in range(repeats + 1)]

        def ours(run: int, pairs: Any = pairs) -> object:
            sample, images = pairs[run]
            return scorer.score(sample, GeneratedSample(images, 0.0, "drawn"))

        def automatic(run: int, pairs: Any = pairs) -> object:
            return script.score(*pairs[run])

        def prompted(run: int, pairs: Any = pairs) -> object:
            return script.score_at_points(*pairs[run])

        what = f"a pair of {side_px} px / "
        peers = {f"{what}all masks": automatic, f"{what}a given point": prompted}
        yield from compare(ours, peers, repeats)


_OF_THE_BACKGROUND = ("background", "light", "layout", "texture_seed")


def _draw_sample(seed: int, side_px: int) -> tuple[Sample, tuple[np.ndarray, ...]]:
    rng = np.random.default_rng(seed)
    first = sample_scene(rng, dependence=0.0)
    other = sample_scene(rng, dependence=0.0)
    second = replace(other, **{name: getattr(first, name) for name in _OF_THE_BACKGROUND})
    background = write_caption(rng, first, "background")
    entities = tuple(write_caption(rng, scene, "entity") for scene in (first, second))
    prompts = tuple(write_caption(rng, scene, "full") for scene in (first, second))
    group = PromptGroup(f"group-{seed}", prompts, "prompts.parquet", seed)
    images = tuple(draw_picture(rng, scene, side_px) for scene in (first, second))
    return Sample(group, seed, GroupSplit(background, entities)), images


def compare_writers(repeats: int, num_pairs: int = 400, side_px: int = 128) -> Iterator[Comparison]:
    """Write encoded pairs of noise with the columns of the manifest."""
    made = make_rows("run", 0, num_kept=num_pairs, num_dropped=0, side_px=side_px)
    pairs = [(row, found) for row, found in with_images(made.rows, made.image_rows) if found]
    writers = {"datasets, Parquet": _write_parquet, "datasets, Arrow": _write_arrow}
    writers |= {"webdataset, tar": _write_tar}
    num_mb = sum(len(found[name]["bytes"]) for _, found in pairs for name in IMAGE_FIELDS) / 1e6
    with tempfile.TemporaryDirectory() as folder:

        def in_folder(name: str, write: Callable[[Path, Any], None]) -> Callable[[int], None]:
            def run(number: int) -> None:
                target = Path(folder) / f"{name}-{number}"
                target.mkdir(exist_ok=True)
                write(target, pairs)

            return run

        for number in range(repeats + 1):  # what a first commit tries
            store = LocalStore(Path(folder) / f"ours-{number}")
            ensure_conditional_writes(store, single_writer=False)
        what = f"{num_pairs} pairs, {num_mb:.0f} MB / "
        peers = {what + name: in_folder(name, write) for name, write in writers.items()}
        yield from compare(in_folder("ours", _commit), peers, repeats)


_Pairs = Sequence[tuple[Row, Row]]


def _commit(folder: Path, pairs: _Pairs) -> None:
    store = LocalStore(folder)
    shard = upload_shard(store, pairs, run_id="run", shard_index=0)
    commit_shards(store, [shard], describe_run("run"))


def _write_parquet(folder: Path, pairs: _Pairs) -> None:
    from datasets.arrow_writer import ParquetWriter

    _write_features(ParquetWriter, folder / "pairs.parquet", pairs)


def _write_arrow(folder: Path, pairs: _Pairs) -> None:
    from datasets.arrow_writer import ArrowWriter

    _write_features(ArrowWriter, folder / "pairs.arrow", pairs)


def _write_features(writer_class: Any, path: Path, pairs: _Pairs) -> None:
    from datasets import Features
    from datasets import Image as ImageFeature

    images = dict.fromkeys(IMAGE_FIELDS, ImageFeature())
    features = Features({**Features.from_arrow_schema(MANIFEST_SCHEMA), **images})
    with writer_class(features=features, path=str(path), writer_batch_size=100) as writer:
        for row, found in pairs:
            writer.write({**row, **{name: found[name] for name in IMAGE_FIELDS}})
        writer.finalize()


def _write_tar(folder: Path, pairs: _Pairs) -> None:
    from webdataset import TarWriter

    with TarWriter(str(folder / "pairs.tar")) as writer:
        for row, found in pairs:
            images = {f"{name}.png": found[name]["bytes"] for name in IMAGE_FIELDS}
            text = json.dumps(row, default=str).encode()
            writer.write({"__key__": row["pair_id"], "json": text, **images})


def compare_builds(repeats: int, num_groups: int = 12) -> Iterator[Comparison]:
    """Build the miniature's pairs, with one torch thread a process and one server for all."""
    with tempfile.TemporaryDirectory() as folder, temporary_server(180) as url:
        prompts = Path(folder) / "prompts.parquet"
        shipped = miniature_folder("prompts") / "test.parquet"
        pq.write_table(pq.read_table(shipped).slice(0, num_groups), prompts)
        environment = {**os.environ, "PREFECT_API_URL": url, "OMP_NUM_THREADS": "1"}

        def build(output: str, num_processes: int) -> Seconds:
            command = [sys.executable, "-P", "-m", "flows.cli.main", "build", "--shard-size", "1"]
            command += ["--prompts", str(prompts), "--output", output]
            return _run_side_by_side(command, num_processes, environment)

        runs: list[list[Seconds]] = []
        for _ in range(repeats):
            with tempfile.TemporaryDirectory(dir=folder) as output:
                both = [build(f"{output}/{number}", number) for number in (1, 2)]
                # What is left of a build where there is nothing to do.
                runs.append([*both, build(f"{output}/1", 1)])
    one, two, nothing = zip(*runs, strict=True)
    yield Comparison(f"{num_groups} shards: two builds / one", two, one)
    yield Comparison("a build that finds all done / that build", nothing, one)


def _run_side_by_side(
    command: Sequence[str], num_processes: int, environment: Mapping[str, str]
) -> Seconds:
    began, cpu = time.monotonic(), _cpu_of_children()
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    start = partial(subprocess.Popen, env=environment, cwd=ROOT, **silent)
    processes = [start(command) for _ in range(num_processes)]
    codes = [process.wait() for process in processes]
    assert not any(codes), f"builds ended with {codes}"
    return Seconds(_cpu_of_children() - cpu, time.monotonic() - began)


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


ROWS: Mapping[str, Callable[[int], Iterator[Comparison]]] = {
    "scorer": compare_scorers,
    "writers": compare_writers,
    "builds": compare_builds,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a row as soon as it is known."""
    parser = build_parser(__doc__)
    parser.add_argument(
        "--only",
        nargs="+",
        choices=ROWS,
        default=list(ROWS),
        metavar="WHAT",
        help="what to compare",
    )
    parser.add_argument(
        "--repeats", type=int, default=3, metavar="N", help="turns of `scorer` and `writers`"
    )
    parser.add_argument(
        "--builds", type=int, default=1, metavar="N", help="turns of `builds`, a minute each"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of torch")
    parser.add_argument("--json", action="store_true", help="print JSON, a line a row")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    for name in options.only:
        for row in ROWS[name](options.builds if name == "builds" else options.repeats):
            line = json.dumps({"row": name, **row.describe()}) if options.json else str(row)
            print(line, flush=True)


if __name__ == "__main__":
    main()
