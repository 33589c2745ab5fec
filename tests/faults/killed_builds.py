"""Real builds that are killed inside generate and score, and batches of a language model."""

import os
import random
import shutil
import signal
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

import pyarrow.parquet as pq

from coupled_core import build_dataset
from coupled_core.config import SplitConfig
from coupled_core.dataset.upkeep.gc import Retention, collect_garbage, plan_gc
from coupled_core.errors import ConflictError
from coupled_core.miniature import miniature_folder
from coupled_core.progress import SilentProgress, report_to
from coupled_core.splitting.llm.splitter import LlmSplitter
from coupled_core.storage.local import LocalStore
from tests.coupled_command import read_rows
from tests.faults.disturbances import Tally
from tests.faults.operations import list_damage
from tests.forks import FORKS
from tests.messages_server.process import RunningServer
from tests.unit.splitting.llm.groups import SOON, make_groups

NUM_GROUPS = 3
"""Of a build; the first of them is in the dataset from the start."""
_KILLS_A_BUILD = 4
_NUM_REPORTS = {"generate": 5, "score": 1}
"""Of each stage, that a build may be killed at; so few that most attempts come so far."""
_MAX_DELAY_SECONDS = 0.4
_LONG_AGO = timedelta(days=3)
_NUM_SPLITS = 12


class _Deadly(SilentProgress):
    """Kills this process a moment after a report of a stage."""

    def __init__(self, stage: str, report: int, delay_seconds: float) -> None:
        self._stage, self._left, self._delay_seconds = stage, report, delay_seconds

    def advance(self, stage: str, count: int = 1, *, is_new: bool = True) -> None:
        """Count the reports of the stage."""
        if stage == self._stage:
            if self._left == 0:
                threading.Timer(self._delay_seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
            self._left -= 1

    def within(self, stage: str, done: float, text: str) -> None:
        """Count steps of a batch like anything else."""
        self.advance(stage)


def kill_builds(num_builds: int, seed: int = 0) -> Tally:
    """Kill builds at random moments, some times each; each of them ends in the end.

    Beside every one of them garbage is collected and a reader reads. What an undisturbed build
    makes must be there once, and nothing that a collection does not take away later.
    """
    tally, moments = Tally(), random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _build(folder / "first", 1)
        first = len(read_rows(folder / "first" / "pairs"))
        _build(folder / "all", NUM_GROUPS)
        wanted = read_rows(folder / "all" / "pairs")
        for _ in range(num_builds):
            place = folder / "killed"
            shutil.copytree(folder / "first", place)
            for _ in range(_KILLS_A_BUILD):
                stage = moments.choice(tuple(_NUM_REPORTS))
                report = moments.randrange(_NUM_REPORTS[stage])
                delay = moments.uniform(0, _MAX_DELAY_SECONDS)
                _run(tally, place, (stage, report, delay), (first, len(wanted)))
            _run(tally, place, None, (first, len(wanted)))
            _compare(tally, place, wanted)
            shutil.rmtree(place)
    return tally


def _run(
    tally: Tally, place: Path, deadly: tuple[str, int, float] | None, sizes: tuple[int, int]
) -> None:
    process = FORKS.Process(target=_build, args=(place, NUM_GROUPS, deadly))
    process.start()
    _collect_and_read(tally, LocalStore(place / "pairs"), process, sizes)
    process.join()
    if process.exitcode == -signal.SIGKILL:
        tally.injections, tally.killed = tally.injections + 1, tally.killed + 1
    elif process.exitcode != 0:
        tally.unnamed += 1
        tally.problems.append(f"{place.name}: exit code {process.exitcode} after {deadly}")


def _build(place: Path, num_groups: int, deadly: tuple[str, int, float] | None = None) -> None:
    (place / "tmp").mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = str(place / "tmp")
    table = pq.read_table(miniature_folder("prompts") / "example.parquet")
    groups = table.slice(0, num_groups).to_pylist()
    settings = {"num_inference_steps": 3, "shard_size": 1, "seed": 5}
    with report_to(_Deadly(*deadly) if deadly else SilentProgress()):
        build_dataset(groups, place / "pairs", **settings, generation={"batch_size": 1})
    tempfile.tempdir = None


def _collect_and_read(
    tally: Tally, store: LocalStore, process: BaseProcess, sizes: tuple[int, int]
) -> None:
    """Collect garbage, some of it made for that, and read, until the build has ended."""
    number = 0
    while process.is_alive():
        number += 1
        _write_garbage(store, number)
        plan = plan_gc(store, Retention(keep_snapshots=2), datetime.now(UTC))
        try:
            collect_garbage(store, plan)
        except ConflictError:  # the build has committed meanwhile
            continue
        tally.collections += 1
        if not plan.removals:
            tally.problems.append("a collection found no garbage")
        tally.reads += 1
        tally.half_states += len(read_rows(store.root)) not in sizes
        time.sleep(0.2)


def _write_garbage(store: LocalStore, number: int) -> None:
    key, then = f"images/part-{number:05d}-0123abcd.parquet", datetime.now(UTC) - _LONG_AGO
    store.write(key, b"garbage")
    os.utime(store.root / key, (then.timestamp(), then.timestamp()))


def _compare(tally: Tally, place: Path, wanted: list[dict[str, object]]) -> None:
    store = LocalStore(place / "pairs")
    rows = read_rows(store.root)
    ids = [row["pair_id"] for row in rows]
    tally.rows_doubled += len(ids) - len(set(ids))
    tally.rows_lost += len({row["pair_id"] for row in wanted} - set(ids))
    same = {row["pair_id"]: row for row in wanted}
    if any(_without_run(row) != _without_run(same.get(row["pair_id"], {})) for row in rows):
        tally.problems.append("rows differ from those of an undisturbed build")
    if damage := list_damage(store):
        tally.damaged += 1
        tally.problems.append(damage[0])
    collect_garbage(store, plan_gc(store, Retention(), datetime.now(UTC) + _LONG_AGO))
    # PyTorch keeps a cache there, which is one a user and not ours.
    left = [*store.list_unfinished(), *(place / "tmp").glob("coupled-*")]
    tally.leaked += len(left)
    tally.problems += [f"left behind: {each}" for each in left]


def _without_run(row: dict[str, object]) -> dict[str, object]:
    """Leave out what says which run made a row, and in which part its images stand."""
    run = ("run_id", "shard_index", "source_row", "image_part", "config_sha256")
    return {name: value for name, value in row.items() if name not in run}


def kill_batches(num_rounds: int, seed: int = 0) -> Tally:
    """Kill whoever asks a language model in batches, at random moments; nothing is paid twice."""
    tally, moments = Tally(), random.Random(seed)
    server = RunningServer(batch_seconds=0.4)
    try:
        for _ in range(num_rounds):
            server.reset()
            with tempfile.TemporaryDirectory() as folder:
                for _ in range(3):
                    process = _start_split(server, folder)
                    process.join(moments.uniform(0.05, 1.5))
                    process.kill()
                    process.join()
                    was_killed = process.exitcode == -signal.SIGKILL
                    tally += Tally(injections=was_killed, killed=was_killed)
                process = _start_split(server, folder)
                process.join()
                paid = server.counters()["paid"]
                tally.rows_lost += _NUM_SPLITS - paid["distinct_prompts"]
                tally.rows_doubled += paid["batch"] - paid["distinct_prompts"]
                if process.exitcode != 0:
                    tally.problems.append(f"splitting ended with {process.exitcode}")
    finally:
        server.stop()
    return tally


def _start_split(server: RunningServer, folder: str) -> BaseProcess:
    process = FORKS.Process(target=_split, args=(server.environment, folder))
    process.start()
    return process


def _split(environment: dict[str, str], folder: str) -> None:
    os.environ.update(environment)
    settings = {"cache_uri": folder, "transport": "batch", "batch_size": 5, "no_cap": True}
    groups = make_groups(_NUM_SPLITS)
    splitter = LlmSplitter(SplitConfig.model_validate(settings), "run", SOON)
    splitter.prepare(lambda: iter(groups), len(groups))
