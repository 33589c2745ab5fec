"""Disturbs operations on a dataset, lets a reader watch, and counts what came of it."""

import math
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import takewhile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from coupled_core.errors import CoupledError
from coupled_core.storage.local import LocalStore
from coupled_core.storage.s3 import S3Store
from coupled_core.storage.store import ObjectStore
from tests.faults.operations import (
    Read,
    State,
    Template,
    list_damage,
    operation_named,
    read_state,
)
from tests.faults.proxy import FaultProxy
from tests.forks import FORKS

READ_TIMEOUT_SECONDS = 5.0
_T = TypeVar("_T")
_ends_at = math.inf
_PAUSE_SECONDS = 0.05
"""Between two reads, at least; the reader leaves most of a processor to what it watches."""
_MUTATIONS = ("os.link", "os.rename", "os.remove", "os.mkdir")


def end_after(seconds: float) -> None:
    """Begin nothing new after so long: see `in_time`."""
    global _ends_at
    _ends_at = time.monotonic() + seconds


def in_time(steps: Iterable[_T]) -> Iterator[_T]:
    """Yield steps as long as there is time for them."""
    return takewhile(lambda _: time.monotonic() < _ends_at, steps)


@dataclass
class Tally:
    """What came of a series of disturbances."""

    injections: int = 0
    survived: int = 0
    """The operation succeeded in spite of it."""
    refused: int = 0
    """It failed with an error of ours, and succeeded when repeated."""
    killed: int = 0
    """It was killed, and succeeded when repeated."""
    rows_lost: int = 0
    rows_doubled: int = 0
    half_states: int = 0
    """Reads that saw neither the state before nor the one after."""
    reads: int = 0
    collections: int = 0
    """Of garbage, beside what was disturbed."""
    damaged: int = 0
    """Datasets that `verify` did not pass afterwards."""
    leaked: int = 0
    """Files that nothing would ever have removed."""
    unnamed: int = 0
    """Failures with another error than one of ours."""
    problems: list[str] = field(default_factory=list)

    def __add__(self, other: "Tally") -> "Tally":
        mine, theirs = asdict(self), asdict(other)
        return Tally(**{name: mine[name] + theirs[name] for name in mine})

    @property
    def is_clean(self) -> bool:
        """No row was lost or doubled, no half state was seen, nothing is damaged."""
        bad = self.rows_lost + self.rows_doubled + self.half_states + self.damaged
        bad += self.leaked + self.unnamed
        return bad == 0 and not self.problems


def check(
    tally: Tally, template: Template, store: ObjectStore, what: str, *, is_done: bool
) -> None:
    """Compare a dataset with what it may be after a disturbance, or must be when all is done."""
    found = read_state(store)
    allowed = (template.after,) if is_done else (template.before, template.after)
    ids = [name for name, _ in found]
    tally.rows_doubled += len(ids) - len(set(ids))
    wanted = {name for name, _ in template.after} & {name for name, _ in template.before}
    wanted |= {name for name, _ in template.after} if is_done else set()
    tally.rows_lost += len(wanted - set(ids))
    if found not in allowed:
        tally.problems.append(f"{what}: state of {len(found)} rows is neither before nor after")
    if found and (damage := list_damage(store)):
        tally.damaged += 1
        tally.problems.append(f"{what}: {damage[0]}")


def run_disturbed(tally: Tally, template: Template, store: ObjectStore, what: str) -> None:
    """Carry out an operation on a disturbed store, in this process."""
    tally.injections += 1
    try:
        template.operation.act(store)
    except CoupledError:
        tally.refused += 1
    except Exception as error:
        tally.unnamed += 1
        tally.problems.append(f"{what}: {type(error).__name__}: {error}")
    else:
        tally.survived += 1


@dataclass(frozen=True)
class Reader:
    """A process that reads one dataset in a loop and compares what it sees."""

    connection: Connection

    def watch(self, uri: str, template: Template) -> None:
        """Read another dataset from now on."""
        self.expect(uri, read_state, (template.before, template.after), may_fail=False)

    def expect(self, uri: str, read: Read, allowed: tuple[State, ...], *, may_fail: bool) -> None:
        """Read another dataset in a way of its own; it may fail, but never come out otherwise."""
        self.connection.send((uri, read, allowed, may_fail))
        self.connection.recv()

    def report(self) -> tuple[int, list[str]]:
        """Return the number of reads and what was wrong since the last report."""
        self.connection.send("report")
        reads, problems = self.connection.recv()
        return reads, problems


@contextmanager
def reader(environment: Mapping[str, str]) -> Iterator[Reader]:
    """Start a reader; it ends with the `with`."""
    ours, theirs = FORKS.Pipe()
    process = FORKS.Process(target=_read_in_a_loop, args=(theirs, dict(environment)))
    process.start()
    try:
        yield Reader(ours)
    finally:
        ours.send("stop")
        process.join(30)
        process.kill()


def _read_in_a_loop(connection: Connection, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    store: ObjectStore | None = None
    read: Read = read_state
    allowed: tuple[State, ...] = ()
    may_fail, reads, problems, pause_seconds = False, 0, [], 0.0
    while True:
        if store is None or connection.poll(pause_seconds):
            message = connection.recv()
            if message == "stop":
                return
            if message == "report":
                connection.send((reads, problems))
                store = None  # the dataset goes away now, which is no half state
                continue
            uri, read, allowed, may_fail = message
            store = open_undisturbed(uri)
            reads, problems = 0, []
            connection.send("watching")
        started_at = time.monotonic()
        try:
            if read(store) not in allowed:
                problems.append(f"a reader of {store.uri} saw a half state")
        except (CoupledError, AssertionError) as error:
            if not may_fail:
                problems.append(f"a reader of {store.uri} failed: {error}")
        reads += 1
        pause_seconds = max(_PAUSE_SECONDS, 2 * (time.monotonic() - started_at))


def open_undisturbed(uri: str) -> ObjectStore:
    """Open a dataset with patience."""
    if not uri.startswith("s3://"):
        return LocalStore(Path(uri))
    store = S3Store(uri)
    vars(store)["_client"] = _client_of(os.environ["AWS_ENDPOINT_URL"])
    return store


@cache
def _client_of(_endpoint: str) -> Any:
    """Make one client for all datasets: to make it takes longer than most disturbances do."""
    return S3Store("s3://any")._client


def act_in_child(template: Template, uri: str, environment: Mapping[str, str], step: int) -> Any:
    """Start an operation in a process of its own; it kills itself before step `step` on disk.

    Returns:
        The process, and a connection that gets the number of steps if it lives to the end.
    """
    ours, theirs = FORKS.Pipe()
    arguments = (theirs, template.operation.name, uri, dict(environment), step)
    process = FORKS.Process(target=_act, args=arguments)
    process.start()
    theirs.close()
    return process, ours


def _act(
    connection: Connection, name: str, uri: str, environment: dict[str, str], step: int
) -> None:
    os.environ.update(environment)
    steps = count_steps(uri, step)
    store = (
        S3Store(uri, read_timeout_seconds=30) if uri.startswith("s3://") else LocalStore(Path(uri))
    )
    operation_named(name).act(store)
    connection.send(len(steps))


def count_steps(root: str, fatal: int) -> list[str]:
    """Count every change below a folder as the interpreter announces it; kill before one of them.

    Opening a file to write, linking, renaming, removing and making a folder are all that our store
    does to a disk, so between two of them nothing else can be seen.
    """
    steps: list[str] = []

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        is_write = event == "open" and str(arguments[1])[:1] in ("x", "w", "a")
        if not (is_write or event in _MUTATIONS) or root not in str(arguments[0]):
            return
        if len(steps) == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        steps.append(event)

    sys.addaudithook(hear)
    return steps


def kill_on_disk(template: Template, fatal: int, watcher: Reader) -> tuple[Tally, bool]:
    """Kill an operation before its step `fatal`; say whether it had so many steps."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        store = LocalStore(Path(folder) / "data")
        template.copy_to(store)
        watcher.watch(store.uri, template)
        process, connection = act_in_child(template, store.uri, {}, fatal)
        process.join()
        if process.exitcode == 0:
            connection.recv()
            return tally, False
        tally.injections = tally.killed = 1
        _finish(tally, template, store, f"{template.operation.name}, killed at step {fatal}")
        take_report(tally, watcher)
    return tally, True


def _finish(tally: Tally, template: Template, store: ObjectStore, what: str) -> None:
    """Check, repeat undisturbed, and check again."""
    check(tally, template, store, what, is_done=False)
    template.operation.act(store)
    check(tally, template, store, f"{what}, repeated", is_done=True)


def take_report(tally: Tally, watcher: Reader) -> None:
    """Ask a reader what it saw; from then on it reads nothing."""
    reads, problems = watcher.report()
    tally.reads += reads
    tally.half_states += len(problems)
    tally.problems += problems


def disturb_on_s3(
    template: Template, uri: str, disturbed: ObjectStore, watcher: Reader, what: str
) -> Tally:
    """Carry out an operation through a proxy that has its script, then repeat it undisturbed."""
    tally, store = Tally(), open_undisturbed(uri)
    watcher.watch(uri, template)
    run_disturbed(tally, template, disturbed, what)
    _finish(tally, template, store, what)
    take_report(tally, watcher)
    return tally


def kill_on_s3(
    template: Template,
    uri: str,
    environment: Mapping[str, str],
    proxy: FaultProxy,
    watcher: Reader,
) -> tuple[Tally, bool]:
    """Let a child act through a proxy whose script kills it; say whether it came to that."""
    tally, store = Tally(), open_undisturbed(uri)
    watcher.watch(uri, template)
    has_started = threading.Event()

    def kill() -> None:
        has_started.wait()
        os.kill(process.pid, signal.SIGKILL)

    proxy.kill_client = kill
    process, _ = act_in_child(template, uri, environment, -1)
    has_started.set()
    process.join()
    was_killed = process.exitcode == -signal.SIGKILL
    if was_killed:
        tally.injections = tally.killed = 1
        _finish(tally, template, store, f"{template.operation.name}, killed")
    take_report(tally, watcher)
    return tally, was_killed
