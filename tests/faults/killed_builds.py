"""Real builds that are killed inside generate and score, and batches of a language model."""

import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import count
from multiprocessing.process import BaseProcess
from pathlib import Path

import pyarrow.parquet as pq

from coupled_core import build_dataset
from coupled_core.config import Retention, SplitConfig
from coupled_core.dataset.upkeep.gc import collect_garbage, plan_gc
from coupled_core.errors import ConflictError
from coupled_core.miniature import miniature_folder
from coupled_core.progress import SilentProgress, report_to
from coupled_core.splitting.llm.splitter import LlmSplitter
from coupled_core.storage.store import ObjectStore
from tests.coupled_command import read_rows
from tests.faults.aged import LONG_AGO, AgedStore
from tests.faults.disturbances import Tally, count_steps, in_time, open_undisturbed
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
_GARBAGE = "-0123abcd.parquet"
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


def kill_builds(
    new_uri: Callable[[], str], environment: Mapping[str, str], num_builds: int, seed: int = 0
) -> Tally:
    """Kill builds at random moments, some times each; each of them ends in the end.

    Beside every one of them garbage is collected and a reader reads. What an undisturbed build
    makes must be there once, and nothing that a collection does not take away later.
    """
    tally, moments = Tally(), random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        site = _Site(Path(name), new_uri(), environment)
        site.build(1)
        first = _copy(open_undisturbed(site.uri))
        num_first = len(read_rows(site.uri))
        site.build(NUM_GROUPS)
        wanted = read_rows(site.uri)
        for _ in in_time(range(num_builds)):
            place = replace(site, uri=new_uri())
            for key, data in first.items():
                open_undisturbed(place.uri).write(key, data)
            for _ in range(_KILLS_A_BUILD):
                stage = moments.choice(tuple(_NUM_REPORTS))
                report = moments.randrange(_NUM_REPORTS[stage])
                delay = moments.uniform(0, _MAX_DELAY_SECONDS)
                _run(tally, place, (stage, report, delay), (num_first, len(wanted)))
            _run(tally, place, None, (num_first, len(wanted)))
            _compare(tally, place, wanted)
    return tally


@dataclass(frozen=True)
class _Site:
    """Where a build takes place."""

    folder: Path
    """For temporary files; one for all, since each run takes away what the killed have left."""
    uri: str
    environment: Mapping[str, str]

    def build(self, num_groups: int, deadly: tuple[str, int, float] | None = None) -> None:
        """Build; with `deadly` be killed."""
        os.environ.update(self.environment)
        tempfile.tempdir = str(self.folder)
        table = pq.read_table(miniature_folder("prompts") / "example.parquet")
        groups = table.slice(0, num_groups).to_pylist()
        settings = {"num_inference_steps": 3, "shard_size": 1, "seed": 5}
        with report_to(_Deadly(*deadly) if deadly else SilentProgress()):
            build_dataset(groups, self.uri, **settings, generation={"batch_size": 1})
        tempfile.tempdir = None


def _copy(store: ObjectStore) -> dict[str, bytes]:
    return {info.key: store.read(info.key) for info in store.list("")}


def _run(
    tally: Tally, place: _Site, deadly: tuple[str, int, float] | None, sizes: tuple[int, int]
) -> None:
    process = FORKS.Process(target=place.build, args=(NUM_GROUPS, deadly))
    process.start()
    _collect_and_read(tally, place.uri, process, sizes)
    process.join()
    if process.exitcode == -signal.SIGKILL:
        tally.injections, tally.killed = tally.injections + 1, tally.killed + 1
    elif process.exitcode != 0:
        tally.unnamed += 1
        tally.problems.append(f"{place.uri}: exit code {process.exitcode} after {deadly}")


def _collect_and_read(tally: Tally, uri: str, process: BaseProcess, sizes: tuple[int, int]) -> None:
    """Collect garbage, some of it made for that, and read, until the build has ended."""
    store = AgedStore(open_undisturbed(uri), lambda info: info.key.endswith(_GARBAGE))
    number = 0
    while process.is_alive():
        number += 1
        store.write(f"images/part-{number:05d}{_GARBAGE}", b"garbage")
        plan = plan_gc(store, Retention(keep_snapshots=2), datetime.now(UTC))
        try:
            collect_garbage(store, plan)
        except ConflictError:  # the build has committed meanwhile
            continue
        tally.collections += 1
        if not plan.removals:
            tally.problems.append("a collection found no garbage")
        tally.reads += 1
        tally.half_states += len(read_rows(uri)) not in sizes
        time.sleep(0.2)


def _compare(tally: Tally, place: _Site, wanted: list[dict[str, object]]) -> None:
    store = open_undisturbed(place.uri)
    rows = read_rows(place.uri)
    ids = [row["pair_id"] for row in rows]
    tally.rows_doubled += len(ids) - len(set(ids))
    tally.rows_lost += len({row["pair_id"] for row in wanted} - set(ids))
    same = {row["pair_id"]: row for row in wanted}
    if any(_without_run(row) != _without_run(same.get(row["pair_id"], {})) for row in rows):
        tally.problems.append("rows differ from those of an undisturbed build")
    if damage := list_damage(store):
        tally.damaged += 1
        tally.problems.append(damage[0])
    everything = Retention(abandoned_work=LONG_AGO.days)
    collect_garbage(store, plan_gc(store, everything, datetime.now(UTC) + 2 * LONG_AGO))
    left: list[object] = [info.key for info in store.list_unfinished()]
    left += [info.key for info in store.list("work/")]
    # PyTorch keeps a cache there, which is one a user and not ours.
    left += place.folder.glob("coupled-*")
    tally.leaked += len(left)
    tally.problems += [f"left behind: {each}" for each in left]


def _without_run(row: dict[str, object]) -> dict[str, object]:
    """Leave out what says which run made a row, and in which part its images stand."""
    run = ("run_id", "shard_index", "source_row", "image_part", "config_sha256")
    return {name: value for name, value in row.items() if name not in run}


def kill_batches(num_rounds: int, seed: int = 0) -> Tally:
    """Kill whoever asks a language model in batches, at random moments; nothing is paid twice.

    A third of the rows of a batch expire or fail, so that batches are answered by halves.
    """
    tally, moments = Tally(), random.Random(seed)
    server = RunningServer(batch_seconds=0.4, shares={"expire": 0.2, "error": 0.1})
    try:
        for _ in in_time(range(num_rounds)):
            server.reset()
            with tempfile.TemporaryDirectory() as folder:
                for _ in range(3):
                    process = _start_split(server, folder)
                    process.join(moments.uniform(0.05, 1.5))
                    process.kill()
                    process.join()
                    was_killed = process.exitcode == -signal.SIGKILL
                    tally += Tally(injections=was_killed, killed=was_killed)
                _finish_split(tally, server, folder, "killed at random")
    finally:
        server.stop()
    return tally


def kill_batches_at_each_step(steps: slice) -> Tally:
    """Kill before each change to the folder of answers: all that lies between two of them is sent.

    So somebody dies between the note that a batch will be sent and its sending, between that and
    the note of its name, while it is worked on, and between any two answers that are stored.
    """
    tally = Tally()
    server = RunningServer(batch_seconds=0.1, shares={"expire": 0.2, "error": 0.1})
    try:
        for step in in_time(count(steps.start or 0, steps.step or 1)):
            server.reset()
            with tempfile.TemporaryDirectory() as folder:
                process = _start_split(server, folder, step)
                process.join()
                was_killed = process.exitcode == -signal.SIGKILL
                tally += Tally(injections=was_killed, killed=was_killed)
                _finish_split(tally, server, folder, f"killed before change {step}")
            if not was_killed:
                break
    finally:
        server.stop()
    return tally


def _finish_split(tally: Tally, server: RunningServer, folder: str, what: str) -> None:
    process = _start_split(server, folder)
    process.join()
    paid = server.counters()["paid"]
    tally.rows_lost += _NUM_SPLITS - paid["distinct_prompts"]
    tally.rows_doubled += paid["batch"] + paid["online"] - paid["distinct_prompts"]
    if process.exitcode != 0:
        tally.problems.append(f"{what}: splitting ended with {process.exitcode}")


def _start_split(server: RunningServer, folder: str, fatal: int = -1) -> BaseProcess:
    process = FORKS.Process(target=_split, args=(server.environment, folder, fatal))
    process.start()
    return process


def _split(environment: dict[str, str], folder: str, fatal: int) -> None:
    os.environ.update(environment)
    settings = {"cache_uri": folder, "transport": "batch", "batch_size": 5, "no_cap": True}
    groups = make_groups(_NUM_SPLITS)
    splitter = LlmSplitter(SplitConfig.model_validate(settings), "run", SOON)
    count_steps(folder, fatal)
    splitter.prepare(lambda: iter(groups), len(groups))
