"""Pieces of work that two processes want to do: each is done once, by one of them."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from coupled_core.config import OutputConfig, RunConfig
from coupled_core.dataset.work import WorkFolder
from coupled_core.errors import LeaseLostError, StorageError
from coupled_core.progress import current_progress
from coupled_core.runs import division
from coupled_core.runs.division import Elsewhere, Outcome, Read, divide, hold_shard, look_at_shards
from coupled_core.runs.models import generation_of
from coupled_core.runs.plan import ShardPlan
from coupled_core.runs.shard import ShardWork
from coupled_core.storage.leases import Leases, LeaseTimes
from coupled_core.storage.open_store import open_store

SHARD = ShardPlan("run", 3, num_items=2, num_pairs=2)
LEASES, NAME = "work/run/leases/", "00003"
LIVELY = LeaseTimes(beat_seconds=0.05)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(division, "_TIMES", LeaseTimes(0.05, 0.5, poll_seconds=0.02))
    monkeypatch.setattr(division, "_leases", {})


@pytest.fixture
def work(tmp_path: Path) -> ShardWork:
    config = RunConfig(output=OutputConfig(uri=str(tmp_path)))
    return ShardWork(config, SHARD, generation_of(config.generation))


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Leases]:
    """The leases of another process."""
    other = Leases(open_store(tmp_path), LEASES, LIVELY)
    yield other
    other.give_up(NAME)
    other.close()


def _do(results: dict[str, list[object]]) -> Callable[[str, Callable[[Read[str]], None]], None]:
    """Return how pieces are begun; each has its results in order, errors among them."""

    def begin(piece: str, take: Callable[[Read[str]], None]) -> None:
        def read() -> str | Elsewhere:
            result = results[piece].pop(0)
            if isinstance(result, Exception):
                raise result
            assert isinstance(result, str | Elsewhere)
            return result

        take(read)

    return begin


def _divide(results: dict[str, list[object]], at_once: int = 1) -> list[Outcome[str, str]]:
    pieces = list(results)
    return list(divide(pieces, lambda _: None, _do(results), stage="shards", at_once=at_once))


@pytest.mark.parametrize("at_once", [1, 3])
def test_what_others_hold_is_tried_again_after_the_rest(at_once: int) -> None:
    held = Elsewhere("somebody works on a")
    outcomes = _divide({"a": [held, held, "mine"], "b": ["b"], "c": [Elsewhere(None)]}, at_once)
    assert outcomes == [Outcome("b", "b"), Outcome("c"), Outcome("a", "mine")]


def test_a_lease_that_was_lost_is_somebody_else_at_work_and_no_failure() -> None:
    lost = LeaseLostError("this process was paused")
    assert _divide({"a": [lost, Elsewhere(None)]}) == [Outcome("a")]


def test_a_failure_is_an_outcome_and_stops_no_other_piece() -> None:
    error = ValueError("broken")
    assert _divide({"a": [error], "b": ["b"]}) == [Outcome("a", error=error), Outcome("b", "b")]


def test_what_is_done_or_held_already_is_not_begun() -> None:
    states = {"a": [Elsewhere("held"), Elsewhere(None)], "b": [Elsewhere(None)], "c": [None]}
    results: dict[str, list[object]] = {"c": ["mine"]}
    found = list(divide(states, lambda p: states[p].pop(0), _do(results), stage="shards"))
    assert found == [Outcome("b"), Outcome("c", "mine"), Outcome("a")]


def test_no_more_is_begun_than_may_be_at_work() -> None:
    running, most = set[int](), 0

    def begin(piece: int, take: Callable[[Read[int]], None]) -> None:
        nonlocal most
        running.add(piece)
        most = max(most, len(running))

        def end() -> None:
            running.discard(piece)
            take(lambda: piece)

        threading.Timer(0.01, end).start()

    found = divide(range(9), lambda _: None, begin, stage="shards", at_once=3)
    assert sorted(outcome.piece for outcome in found) == list(range(9))
    assert most == 3


def test_a_free_shard_is_ours_while_it_is_built_and_nothing_stays_of_the_lease(
    work: ShardWork, other: Leases
) -> None:
    with hold_shard(work) as elsewhere:
        assert elsewhere is None
        work.require_lease()
        assert not other.take(NAME)
    other.close()
    assert list(work.store.list(LEASES)) == []


def test_a_shard_that_another_process_holds_is_left_to_it(work: ShardWork, other: Leases) -> None:
    assert other.take(NAME)
    found = look_at_shards(work.config)(SHARD)
    assert found is not None and "shard 00003 is worked on by" in str(found.holder)
    with hold_shard(work) as elsewhere:
        assert elsewhere == found


def test_a_shard_that_was_built_meanwhile_is_not_built_again(work: ShardWork) -> None:
    WorkFolder(work.store, "run", 3).write_done({"parts": []})
    assert look_at_shards(work.config)(SHARD) == Elsewhere(None)
    with hold_shard(work) as elsewhere:
        assert elsewhere == Elsewhere(None)


def test_progress_of_a_shard_shows_that_it_does_not_hang(
    work: ShardWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(division, "_HUNG_AFTER_SECONDS", 0.3)
    other = Leases(work.store, LEASES, LeaseTimes(0.05, lost_after_seconds=0.5))
    with hold_shard(work) as elsewhere:
        assert elsewhere is None
        for _ in range(10):  # four times as long as a hung one keeps it
            time.sleep(0.2)
            current_progress().within("generate", 1.0, "step 1 of 9")
            assert not other.take(NAME)
        deadline = time.monotonic() + 60
        while not other.take(NAME):  # it waits for what hangs, and nothing is told any more
            assert time.monotonic() < deadline
            current_progress().advance("store", 0)
            time.sleep(0.05)
        with pytest.raises(LeaseLostError):
            work.require_lease()
    other.give_up(NAME)
    other.close()


def test_a_shard_taken_over_tells_its_former_owner_before_it_spends(
    work: ShardWork, tmp_path: Path
) -> None:
    with pytest.raises(LeaseLostError), hold_shard(work):
        store = open_store(tmp_path)
        lease = store.read(f"{LEASES}{NAME}")
        store.write(f"{LEASES}{NAME}", lease.replace(b'"epoch": 1', b'"epoch": 2'))
        work.require_lease()


def test_the_shard_of_a_silent_process_is_free_in_the_end(work: ShardWork, tmp_path: Path) -> None:
    silent = Leases(open_store(tmp_path), LEASES, LeaseTimes(beat_seconds=3600.0))
    assert silent.take(NAME)
    deadline = time.monotonic() + 60
    while look_at_shards(work.config)(SHARD) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with hold_shard(work) as elsewhere:
        assert elsewhere is None


def test_a_single_writer_leases_nothing(work: ShardWork) -> None:
    output = work.config.output.model_copy(update={"single_writer": True})
    work.config = work.config.model_copy(update={"output": output})
    with hold_shard(work) as elsewhere:
        assert elsewhere is None
        assert list(work.store.list("work/")) == []


def test_a_store_that_does_not_answer_is_left_to_the_tries_of_the_task(
    work: ShardWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bool:
        raise StorageError("no connection")

    monkeypatch.setattr(type(work.store), "exists", fail)
    assert look_at_shards(work.config)(SHARD) is None
