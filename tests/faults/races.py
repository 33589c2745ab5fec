"""Two processes that commit to one dataset at the same moment, round after round."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.commit.upload import UploadedShard
from coupled_core.dataset.reader import current_snapshot
from coupled_core.errors import DatasetError
from coupled_core.storage.store import ObjectStore
from tests.faults.disturbances import Tally, in_time, list_damage, open_undisturbed, read_state
from tests.forks import FORKS
from tests.sample_shards import describe_run, publish

ROUNDS_A_DATASET = 10


def race(
    new_uri: Callable[[], str], environment: Mapping[str, str], num_rounds: int
) -> tuple[Tally, int]:
    """Let two writers race: each round both commit a shard of their own, and one that both have.

    A third process reads all the time: it must only ever see whole shards, each at most once.

    Returns:
        What came of it, and how many commits lost a first attempt and were rebased.
    """
    tally, num_rebased = Tally(), 0
    for first in in_time(range(0, num_rounds, ROUNDS_A_DATASET)):
        rounds = min(ROUNDS_A_DATASET, num_rounds - first)
        found, rebased = _race_on_one(new_uri(), environment, rounds)
        tally, num_rebased = tally + found, num_rebased + rebased
    return tally, num_rebased


def _race_on_one(uri: str, environment: Mapping[str, str], num_rounds: int) -> tuple[Tally, int]:
    store, barrier = open_undisturbed(uri), FORKS.Barrier(2)
    own = [
        [publish(store, f"w{w}", 100 * w + n, num_kept=1) for n in range(num_rounds)]
        for w in (1, 2)
    ]
    shared = [publish(store, "twin", 1000 + n, num_kept=1) for n in range(num_rounds)]
    ours, theirs = FORKS.Pipe()
    watcher = FORKS.Process(target=_watch, args=(theirs, uri, dict(environment)))
    watcher.start()
    pipes, writers = [], []
    for shards in own:
        mine, its = FORKS.Pipe()
        plain = [
            [shard.model_dump(mode="json") for shard in pair]
            for pair in zip(shards, shared, strict=True)
        ]
        arguments = (its, uri, dict(environment), plain, barrier)
        writers.append(FORKS.Process(target=_write, args=arguments))
        pipes.append(mine)
        writers[-1].start()
    outcomes = [pipe.recv() for pipe in pipes]
    for writer in writers:
        writer.join()
    ours.send("stop")
    reads, problems = ours.recv()
    watcher.join()
    return _count(store, [*own, shared], outcomes, reads, problems)


def _count(
    store: ObjectStore,
    shards: Sequence[Sequence[UploadedShard]],
    outcomes: Sequence[tuple[int, list[str]]],
    reads: int,
    problems: list[str],
) -> tuple[Tally, int]:
    ids = [name for name, _ in read_state(store)]
    parts = [part for group in shards for shard in group for part in shard.parts]
    expected = sum(part.num_rows for part in parts if part.kind == "manifest")
    damage = list_damage(store)
    failures = [text for _, texts in outcomes for text in texts]
    tally = Tally(
        injections=len(shards[0]),
        survived=len(shards[0]) if not failures else 0,
        rows_lost=expected - len(set(ids)),
        rows_doubled=len(ids) - len(set(ids)),
        half_states=len(problems),
        reads=reads,
        damaged=bool(damage),
        problems=[*problems, *damage[:3], *failures],
    )
    return tally, sum(rebased for rebased, _ in outcomes)


def _write(
    connection: Connection,
    uri: str,
    environment: dict[str, str],
    rounds: list[list[dict[str, Any]]],
    barrier: Barrier,
) -> None:
    """Commit two shards a round; the other process does so at the same moment."""
    os.environ.update(environment)
    store, failures, num_rebased = open_undisturbed(uri), [], 0
    for shards in rounds:
        barrier.wait(120)
        before = current_snapshot(store)
        for plain in shards:
            shard = UploadedShard.model_validate(plain)
            try:
                snapshot = commit_shards(store, [shard], describe_run(shard.run_id))
            except DatasetError as error:
                failures.append(str(error))
                continue
            known = before.snapshot_id if before else None
            num_rebased += snapshot is not None and snapshot.parent != known
            before = snapshot or before
    connection.send((num_rebased, failures))


def _watch(connection: Connection, uri: str, environment: dict[str, str]) -> None:
    """Read until told to stop: shards must be whole, and no row may stand twice or vanish."""
    os.environ.update(environment)
    store, reads, problems, seen = open_undisturbed(uri), 0, [], set()
    while not connection.poll(0.02):
        try:
            rows = read_state(store)
        except (DatasetError, AssertionError) as error:
            problems.append(f"a reader failed: {error}")
            continue
        ids = {name for name, _ in rows}
        if len(ids) != len(rows):
            problems.append("a reader saw a row twice")
        if not seen <= ids:
            problems.append("a reader saw rows vanish")
        sizes: dict[str, int] = {}
        for name in ids:
            sizes[name[:16]] = sizes.get(name[:16], 0) + 1
        if any(size not in (1, 3) for size in sizes.values()):  # 1: a quarantined row, by its hash
            problems.append("a reader saw a part of a shard")
        seen, reads = ids, reads + 1
        time.sleep(0)
    connection.recv()
    connection.send((reads, problems))
