"""Several processes on one run: whoever comes first does a piece of work, the others do the rest.

Each piece is leased before its work begins. So machines that are given the same command divide it,
and two that were started by mistake do not make an image twice. The commit stays the only truth:
should a lease fail, as in a process that is paused between its last look and its work, a batch is
made twice and counted once. Where leases are not to be had, ranges of shards divide a run in words.
"""

import logging
import math
import os
import queue
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, TypeVar

from coupled_core.config import RunConfig
from coupled_core.dataset.work import DONE, LEASES, WORK_FOLDER, work_prefix
from coupled_core.errors import ConfigError, LeaseLostError, StorageError
from coupled_core.progress import HeardProgress, current_progress, report_to
from coupled_core.redaction import clean_error
from coupled_core.runs.plan import ShardPlan
from coupled_core.runs.shard import ShardWork
from coupled_core.storage.leases import Leases, LeaseTimes
from coupled_core.storage.open_store import open_store
from coupled_core.storage.store import ObjectStore

_TIMES = LeaseTimes(poll_seconds=2.0)
_HUNG_AFTER_SECONDS = 1800.0
"""Within it a shard gets on by a denoising step, a piece of a download, a batch, a stored part."""
_LOOKS_A_SECOND = 10
"""At what others hold: many who wait for many must not be what the store is busy with."""
_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?", re.ASCII)
_logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Elsewhere:
    """A piece of work is another process's."""

    holder: str | None
    """Who works on which piece, in words; None: it is done."""


@dataclass(frozen=True)
class Outcome(Generic[T, R]):
    """What became of a piece of work."""

    piece: T
    result: R | None = None
    """None: it failed, or somebody else did it and keeps the numbers."""
    error: BaseException | None = None
    """None: it is done. Without secrets."""


Read = Callable[[], R | Elsewhere]
"""Returns what a piece of work came to, or raises what ended it."""


def divide(
    pieces: Iterable[T],
    look: Callable[[T], Elsewhere | None],
    begin: Callable[[T, Callable[[Read[R]], None]], None],
    *,
    stage: str,
    at_once: int = 1,
) -> Iterator[Outcome[T, R]]:
    """Yield what becomes of each piece, here or elsewhere; ends when all are done or have failed.

    What others hold is looked at again until they have done it, have failed, or are dead.

    Args:
        pieces: What is to be done, in order.
        look: Says whether a piece is another process's before it is begun; None: it is free.
        begin: Begins a piece, and hands over how to read its result when there is one.
        stage: Under which name waiting is told.
        at_once: Most pieces that are begun and not ended.
    """
    waiting, held, num_begun, look_at = deque(pieces), dict[T, str](), 0, 0.0
    ended: queue.SimpleQueue[tuple[T, Read[R]]] = queue.SimpleQueue()
    told = set[str]()
    while waiting or held or num_begun:
        while waiting and num_begun < at_once:
            piece, num_begun = waiting.popleft(), num_begun + 1
            found = look(piece)
            if found is None:
                begin(piece, _putter(ended, piece))
            else:
                ended.put((piece, partial(Elsewhere, found.holder)))
        # None: nobody else holds anything, so the next end of our own work is all there is to wait
        # for.
        pause = max(look_at - time.monotonic(), 0.0) if held else None
        if pause == 0.0:
            # What others hold joins the queue again behind our own; each is looked at when its turn
            # comes.
            waiting.extend(held)
            held.clear()
            continue
        if held and not num_begun:
            _tell_who_holds(held, stage, told)
        try:
            # Results are read in this thread, the one that signals reach.
            piece, read = ended.get(timeout=pause)
        except queue.Empty:
            continue
        num_begun -= 1
        outcome = _read(piece, read, stage)
        if isinstance(outcome, Outcome):
            if told:
                # Takes the remark about waiting back.
                current_progress().remark(stage, "")
            yield outcome
        else:
            held[piece] = outcome
            # One look a piece, so many held pieces wait longer for their next look.
            look_at = time.monotonic() + max(_TIMES.poll_seconds, len(held) / _LOOKS_A_SECOND)


def _putter(ended: "queue.SimpleQueue[tuple[T, Read[R]]]", piece: T) -> Callable[[Read[R]], None]:
    return lambda read: ended.put((piece, read))


def divide_here(
    pieces: Iterable[T],
    look: Callable[[T], Elsewhere | None],
    work: Callable[[T], R | Elsewhere],
    *,
    stage: str,
) -> Iterator[Outcome[T, R]]:
    """Do as `divide` with work that this thread does itself, one piece after the other."""
    # The work is done when its result is read.
    return divide(pieces, look, lambda piece, take: take(partial(work, piece)), stage=stage)


def _read(piece: T, read: Read[R], stage: str) -> Outcome[T, R] | str:
    """Return what became of a piece, or in words who holds it."""
    try:
        result = read()
    except LeaseLostError as error:
        return str(error)
    except Exception as error:  # whatever it is, the caller decides what follows from it
        current_progress().advance(stage, 0)  # where a signal came out as this, it is no failure
        return Outcome(piece, error=clean_error(error))
    if not isinstance(result, Elsewhere):
        return Outcome(piece, result)
    return Outcome(piece) if result.holder is None else result.holder


def _tell_who_holds(held: dict[T, str], stage: str, told: set[str]) -> None:
    """Say of each holder once why this process waits, and show for how many pieces it does."""
    current_progress().remark(stage, f"waiting for {len(held)} that others work on")
    for holder in held.values():
        if holder not in told:
            told.add(holder)
            _logger.info("waiting: %s", holder)


_lock = threading.Lock()
_leases: dict[tuple[int, str, str], Leases] = {}
"""By process, dataset and run: what we have seen of the others' beats lasts as long as we do."""


def leases_below(store: ObjectStore, name: str, hung_after_seconds: float = math.inf) -> Leases:
    """Return this process's leases on the work of a run, or of whatever else has that name.

    Args:
        name: Of the folder of the work.
        hung_after_seconds: As in `LeaseTimes`.
    """
    key = os.getpid(), store.uri, name  # a fork inherits the leases, and must not pass for us
    with _lock:
        if key not in _leases:
            times = replace(_TIMES, hung_after_seconds=hung_after_seconds)
            _leases[key] = Leases(store, f"{WORK_FOLDER}{name}/{LEASES}", times)
        return _leases[key]


def _leases_on_shards(store: ObjectStore, run_id: str) -> Leases:
    return leases_below(store, run_id, _HUNG_AFTER_SECONDS)


def look_at_shards(config: RunConfig) -> Callable[[ShardPlan], Elsewhere | None]:
    """Return what says whether another process builds a shard, or has since the run was planned."""
    store = open_store(config.output.uri)  # once: a client of S3 takes long to make

    def look(shard: ShardPlan) -> Elsewhere | None:
        try:
            if store.exists(f"{work_prefix(shard.run_id, shard.shard_index)}{DONE}"):
                return Elsewhere(None)
            if config.output.single_writer:
                return None
            return _describe_holder(_leases_on_shards(store, shard.run_id), shard.shard_index)
        except StorageError:  # whoever begins the shard finds out, and tries more than once
            return None

    return look


@contextmanager
def hold_shard(work: ShardWork) -> Iterator[Elsewhere | None]:
    """Hold the lease of a shard while it is built; None: it is ours to build.

    Whatever is told of progress meanwhile shows that the work does not hang.

    Where the settings promise a single writer there is nobody to share with, and no lease.
    """
    if work.config.output.single_writer:
        yield None
        return
    leases, name = _leases_on_shards(work.store, work.plan.run_id), _name(work.plan.shard_index)
    try:
        with leases.holding(name) as is_ours:
            if not is_ours:
                found = _describe_holder(leases, work.plan.shard_index)
                yield found or Elsewhere(f"shard {name} was given up just now")
            elif work.folder.read_done() is not None:  # since it was looked at
                yield Elsewhere(None)
            else:
                work.require_lease = lambda: leases.renew(name)
                with report_to(HeardProgress(current_progress(), leases.get_on)):
                    yield None
    finally:
        leases.close()


def _describe_holder(leases: Leases, shard_index: int) -> Elsewhere | None:
    name = _name(shard_index)
    holder = leases.find_holder(name)
    return Elsewhere(f"shard {name} is worked on by {holder}") if holder else None


def _name(shard_index: int) -> str:
    return f"{shard_index:05d}"


def parse_ranges(text: str) -> list[range]:
    """Return the shards that "0-99" or "3,7,20-29" names, both ends included.

    Raises:
        ConfigError: it is not such a list.
    """
    found = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        # What is no range becomes an empty one, which is refused below together with "9-3".
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first:
            raise ConfigError(
                f"shards: expected numbers and ranges such as 0-99 or 3,7,20-29; got {part!r}"
            )
        found.append(range(first, last + 1))
    return found


def cut_ranges(indices: Sequence[int], size: int) -> Iterator[tuple[str, list[int]]]:
    """Yield ranges of `size` shards, in words, with those of the given shards that lie in them.

    The ranges depend on nothing but their size: what is open changes while a run is under way, and
    whoever divides it again must come to the same names.
    """
    for first in sorted({index // size * size for index in indices}):
        inside = [index for index in indices if first <= index < first + size]
        yield f"{first}-{first + size - 1}", inside
