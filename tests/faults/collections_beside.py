"""Collections of garbage beside a writer that commits and a reader that reads, all at once."""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.upkeep.gc import Retention, collect_garbage, plan_gc
from coupled_core.errors import ConflictError, DatasetError
from coupled_core.storage.store import ObjectStore
from tests.faults.disturbances import Tally, list_damage, open_undisturbed, read_state
from tests.forks import FORKS
from tests.sample_shards import describe_run, publish

ROWS_A_SHARD = 4
"""A kept pair, a dropped, a failed and a quarantined one."""
_LONG_AGO_SECONDS = 3 * 24 * 3600


def collect_beside(
    new_uri: Callable[[], str], environment: Mapping[str, str], num_commits: int
) -> Tally:
    """Collect garbage over and over while one process commits and another reads.

    On disk the parts of every second shard lie there already, uploaded days ago and never
    committed: garbage, until the moment when the writer takes them up again.
    """
    uri = new_uri()
    store, tally = open_undisturbed(uri), Tally()
    commit_shards(store, [publish(store, "first", 9999, num_kept=1)], describe_run("first"))
    is_local = "://" not in uri
    if is_local:
        for index in range(0, num_commits, 2):
            for part in publish(store, "run", index, num_kept=1).parts:
                _age(Path(uri) / part.key)
    pipes, processes, num_removed = [], [], 0
    for target in (_commit, _read):
        ours, theirs = FORKS.Pipe()
        processes.append(
            FORKS.Process(target=target, args=(theirs, uri, dict(environment), num_commits))
        )
        pipes.append(ours)
        processes[-1].start()
    while processes[0].is_alive():
        with suppress(ConflictError):
            plan = plan_gc(store, Retention(keep_snapshots=2), datetime.now(UTC))
            collect_garbage(store, plan)
            tally.injections += 1
            num_removed += len(plan.removals)
    problems: list[str] = pipes[0].recv()
    pipes[1].send("stop")
    reads, read_problems = pipes[1].recv()
    for process in processes:
        process.join(60)
    tally.reads, tally.half_states = reads, len(read_problems)
    tally.problems += problems + read_problems
    ids = [name for name, _ in read_state(store)]
    tally.rows_doubled = len(ids) - len(set(ids))
    tally.rows_lost = ROWS_A_SHARD * (num_commits + 1) - len(set(ids))
    if is_local and num_removed < num_commits:
        tally.problems.append(f"only {num_removed} objects were removed: it tried nothing")
    if damage := list_damage(store):
        tally.damaged, tally.problems = 1, [*tally.problems, damage[0]]
    tally.survived = tally.injections
    return tally


def _age(path: Path) -> None:
    then = time.time() - _LONG_AGO_SECONDS
    os.utime(path, (then, then))


def _commit(connection: Connection, uri: str, environment: dict[str, str], count: int) -> None:
    os.environ.update(environment)
    store, problems = open_undisturbed(uri), list[str]()
    for index in range(count):
        for _ in range(5):  # a part that a collection took just now is uploaded again
            try:
                shard = publish(store, "run", index, num_kept=1)
                commit_shards(store, [shard], describe_run("run"))
                break
            except DatasetError as error:
                if "is missing" not in str(error):
                    problems.append(str(error))
        if "://" not in uri:
            _age_snapshots(store, Path(uri))
    connection.send(problems)


def _age_snapshots(store: ObjectStore, root: Path) -> None:
    """Make states old, so that collections have something to remove."""
    for info in store.list("snapshots/"):
        with suppress(FileNotFoundError):
            _age(root / info.key)


def _read(connection: Connection, uri: str, environment: dict[str, str], _count: int) -> None:
    os.environ.update(environment)
    store, problems, reads = open_undisturbed(uri), list[str](), 0
    seen = 0
    while not connection.poll():
        try:
            rows = len(read_state(store))
        except DatasetError as error:
            # Two states and more behind, a reader may be told that its state is gone: never less.
            if "missing" not in str(error):
                problems.append(f"a reader failed: {error}")
            continue
        if rows < seen:
            problems.append(f"a reader saw {rows} rows after {seen}")
        seen, reads = rows, reads + 1
    connection.recv()
    connection.send((reads, problems))
