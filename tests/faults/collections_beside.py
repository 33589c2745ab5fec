"""Collections of garbage beside a writer that commits and a reader that reads, all at once."""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from multiprocessing.connection import Connection

from coupled_core.config import Retention
from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.pointer import read_pointer
from coupled_core.dataset.snapshot import SNAPSHOT_FOLDER, snapshot_key
from coupled_core.dataset.upkeep.gc import collect_garbage, plan_gc
from coupled_core.errors import ConflictError, DatasetError
from coupled_core.storage.store import ObjectInfo, ObjectStore
from tests.faults.aged import AgedStore
from tests.faults.disturbances import Tally, list_damage, open_undisturbed, read_state
from tests.forks import FORKS
from tests.sample_shards import describe_run, publish

ROWS_A_SHARD = 4
"""A kept pair, a dropped, a failed and a quarantined one."""
_STAMP_CHARS = len(SNAPSHOT_FOLDER) + len("20260101T000000Z")
Garbage = dict[str, datetime | None]
"""Keys of parts that seem to lie there for days, and when they were really written."""


def collect_beside(
    new_uri: Callable[[], str], environment: Mapping[str, str], num_commits: int
) -> Tally:
    """Collect garbage over and over while one process commits and another reads.

    The parts of every second shard lie there already, uploaded days ago and never committed:
    garbage, until the moment when the writer takes them up again. So do states before the current.
    """
    uri = new_uri()
    tally, plain = Tally(), open_undisturbed(uri)
    commit_shards(plain, [publish(plain, "first", 9999, num_kept=1)], describe_run("first"))
    left = [publish(plain, "run", index, num_kept=1) for index in range(0, num_commits, 2)]
    keys = [part.key for shard in left for part in shard.parts]
    garbage = {key: plain.stat(key).modified_at for key in keys}
    time.sleep(1.1)  # S3 keeps whole seconds: what is written again shall look younger
    store = _age(plain, garbage)
    pipes, processes, num_removed = [], [], 0
    for target in (_commit, _read):
        ours, theirs = FORKS.Pipe()
        processes.append(
            FORKS.Process(
                target=target, args=(theirs, uri, dict(environment), num_commits, garbage)
            )
        )
        pipes.append(ours)
        processes[-1].start()
    while processes[0].is_alive():
        with suppress(ConflictError):
            plan = plan_gc(store, Retention(keep_snapshots=2), datetime.now(UTC))
            collect_garbage(store, plan)
            tally.collections += 1
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
    if num_removed < num_commits:
        tally.problems.append(f"only {num_removed} objects were removed: it tried nothing")
    if damage := list_damage(store):
        tally.damaged, tally.problems = 1, [*tally.problems, damage[0]]
    return tally


def _age(store: ObjectStore, garbage: Garbage) -> ObjectStore:
    """Let what was left behind, and states before the current one, look old."""

    def is_aged(info: ObjectInfo) -> bool:
        if not info.key.startswith(SNAPSHOT_FOLDER):
            return info.key in garbage and garbage[info.key] == info.modified_at
        pointer = read_pointer(store)
        current = snapshot_key(pointer.snapshot_id) if pointer else ""
        return info.key[:_STAMP_CHARS] < current[:_STAMP_CHARS]

    return AgedStore(store, is_aged)


def _commit(
    connection: Connection, uri: str, environment: dict[str, str], count: int, garbage: Garbage
) -> None:
    os.environ.update(environment)
    store, problems = _age(open_undisturbed(uri), garbage), list[str]()
    for index in range(count):
        for _ in range(5):  # a part that a collection took just now is uploaded again
            try:
                shard = publish(store, "run", index, num_kept=1)
                commit_shards(store, [shard], describe_run("run"))
                break
            except DatasetError as error:
                if "is missing" not in str(error):
                    problems.append(str(error))
    connection.send(problems)


def _read(
    connection: Connection, uri: str, environment: dict[str, str], _count: int, _garbage: Garbage
) -> None:
    os.environ.update(environment)
    store, problems, reads, seen = open_undisturbed(uri), list[str](), 0, 0
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
