"""Two workers on one question: one asks, the other waits, or takes over from the dead."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from coupled_core.errors import LeaseLostError, StorageError
from coupled_core.storage import leases as lease_module
from coupled_core.storage.leases import Leases, LeaseTimes
from coupled_core.storage.local import LocalStore
from coupled_core.storage.open_store import open_store
from coupled_core.storage.store import ObjectStore

QUESTION = "ab" * 32
NEVER = LeaseTimes(beat_seconds=3600.0, lost_after_seconds=0.3, poll_seconds=0.02)
"""A worker with this lease beats once and then no more, as if it were dead."""
LIVELY = LeaseTimes(beat_seconds=0.05, lost_after_seconds=60.0, poll_seconds=0.02)


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(tmp_path)


@pytest.fixture
def leases(store: ObjectStore) -> Iterator[Leases]:
    leases = Leases(store, "claims/", NEVER)
    yield leases
    leases.close()


def keys_of(store: ObjectStore) -> list[str]:
    return [info.key for info in store.list("")]


def abandon(store: ObjectStore, *questions: str) -> None:
    """Claim questions as a process does that is killed before it gives them up."""
    dead = Leases(store, "claims/", NEVER)
    assert all(map(dead.take, questions))


def test_a_lease_keeps_others_off_until_it_is_given_up_and_leaves_nothing(
    store: ObjectStore,
) -> None:
    mine, other = Leases(store, "claims/", LIVELY), Leases(store, "claims/", LIVELY)
    with mine.holding(QUESTION) as is_mine, other.holding(QUESTION) as is_theirs:
        assert (is_mine, is_theirs) == (True, False)
    assert other.take(QUESTION)
    other.give_up(QUESTION)
    mine.close()
    other.close()
    assert keys_of(store) == []


def test_nothing_is_written_before_the_first_claim(store: ObjectStore) -> None:
    Leases(store, "claims/", LIVELY).close()
    assert keys_of(store) == []


def test_who_waits_comes_back_when_the_lease_is_given_up(store: ObjectStore) -> None:
    mine, other = Leases(store, "claims/", LIVELY), Leases(store, "claims/", LIVELY)
    with ThreadPoolExecutor(1) as pool:
        with mine.holding(QUESTION):
            waiting = pool.submit(other.wait_until_free, QUESTION)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.5)
        waiting.result(timeout=60)
    mine.close()


def test_a_worker_that_beats_keeps_its_leases_for_longer_than_the_patience_of_others(
    store: ObjectStore, leases: Leases
) -> None:
    living = Leases(store, "claims/", LIVELY)
    with ThreadPoolExecutor(1) as pool, living.holding(QUESTION):
        waiting = pool.submit(leases.wait_until_free, QUESTION)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=5 * NEVER.lost_after_seconds)
    living.close()


def test_a_worker_whose_work_hangs_loses_its_lease_although_its_thread_lives(
    store: ObjectStore, leases: Leases
) -> None:
    hung = Leases(store, "claims/", replace(LIVELY, hung_after_seconds=0.2))
    assert hung.take(QUESTION)
    leases.wait_until_free(QUESTION)
    with leases.holding(QUESTION) as is_taken_over:
        assert is_taken_over
        with pytest.raises(LeaseLostError, match="hung"):
            hung.renew(QUESTION)
    hung.give_up(QUESTION)
    hung.close()


def test_a_worker_that_gets_on_again_before_anybody_looked_keeps_its_lease(
    store: ObjectStore, leases: Leases
) -> None:
    slow = Leases(store, "claims/", replace(LIVELY, hung_after_seconds=0.2))
    with slow.holding(QUESTION):
        for _ in range(2):
            time.sleep(0.4)
            slow.renew(QUESTION)
        assert leases.find_holder(QUESTION) is not None
        time.sleep(0.15)  # it beats again
        assert leases.find_holder(QUESTION) is not None
    slow.close()


def test_of_many_who_find_an_abandoned_lease_exactly_one_takes_it_over(store: ObjectStore) -> None:
    abandon(store, QUESTION)
    lease = LeaseTimes(beat_seconds=0.1, lost_after_seconds=3.0, poll_seconds=0.02)
    others = [Leases(store, "claims/", lease) for _ in range(8)]

    with ThreadPoolExecutor(len(others)) as pool:
        list(pool.map(lambda other: other.wait_until_free(QUESTION), others))
        assert sum(pool.map(lambda other: other.take(QUESTION), others)) == 1
    for other in others:
        other.close()


def test_the_other_leases_of_a_dead_worker_are_free_at_once(
    store: ObjectStore, leases: Leases
) -> None:
    second = "cd" * 32
    abandon(store, QUESTION, second)
    leases.wait_until_free(QUESTION)
    patient = Leases(store, "claims/", LIVELY)
    assert leases.take(QUESTION)
    assert patient.take(second)  # though it would wait for a minute
    patient.close()


class FailingStore(LocalStore):
    """A folder that can lose its connection."""

    is_down = False

    def delete(self, key: str) -> None:
        if self.is_down:
            raise StorageError("the connection is lost")
        super().delete(key)


def test_a_lease_that_could_not_be_given_up_does_not_keep_its_owner_off(tmp_path: Path) -> None:
    store = FailingStore(tmp_path)
    leases = Leases(store, "claims/", NEVER)
    assert leases.take(QUESTION)
    store.is_down = True
    leases.give_up(QUESTION)
    store.is_down = False
    assert store.exists(f"claims/{QUESTION}")
    assert leases.take(QUESTION)
    leases.give_up(QUESTION)
    assert not store.exists(f"claims/{QUESTION}")
    leases.close()


def test_threads_of_one_worker_keep_each_other_off_and_share_its_beat(
    store: ObjectStore, leases: Leases
) -> None:
    other = Leases(store, "claims/", LIVELY)
    assert leases.take(QUESTION)
    assert not leases.take(QUESTION)
    leases.close()  # as a thread does that has nothing more to ask
    assert not other.take(QUESTION)
    leases.give_up(QUESTION)
    leases.close()
    other.close()
    assert keys_of(store) == []


def test_a_paused_owner_learns_that_its_work_was_taken_over_and_leaves_the_new_lease_alone(
    store: ObjectStore, leases: Leases
) -> None:
    paused = Leases(store, "claims/", NEVER)
    assert paused.take(QUESTION)
    paused.renew(QUESTION)
    leases.wait_until_free(QUESTION)
    assert leases.take(QUESTION)
    with pytest.raises(LeaseLostError, match="taken over 1 times"):
        paused.renew(QUESTION)
    paused.give_up(QUESTION)
    leases.renew(QUESTION)
    leases.give_up(QUESTION)


def test_each_takeover_raises_the_epoch(store: ObjectStore) -> None:
    workers = [Leases(store, "claims/", NEVER) for _ in range(3)]
    epochs = []
    for worker in workers:
        worker.wait_until_free(QUESTION)
        assert worker.take(QUESTION)
        found = worker.find(QUESTION)
        epochs.append(found and found.epoch)
    assert epochs == [1, 2, 3]


HOLD_FOR_EVER = f"""
import sys, time
from coupled_core.storage.leases import Leases, LeaseTimes
from coupled_core.storage.open_store import open_store
worker = Leases(open_store(sys.argv[1]), "claims/", LeaseTimes(beat_seconds=0.05))
assert worker.take("{QUESTION}")
time.sleep(600)
"""


@pytest.fixture
def owner(tmp_path: Path, store: ObjectStore) -> Iterator["subprocess.Popen[bytes]"]:
    """Another process that holds the lease."""
    process = subprocess.Popen([sys.executable, "-c", HOLD_FOR_EVER, str(tmp_path)])
    while not store.exists(f"claims/{QUESTION}"):
        assert process.poll() is None
        time.sleep(0.01)
    yield process
    process.kill()
    process.wait()


def test_a_killed_process_of_this_machine_keeps_nobody_waiting(
    store: ObjectStore, owner: "subprocess.Popen[bytes]"
) -> None:
    mine = Leases(store, "claims/", LIVELY)  # would wait for a minute
    assert not mine.take(QUESTION)
    owner.kill()
    owner.wait()
    assert mine.take(QUESTION)
    mine.give_up(QUESTION)
    mine.close()


def test_a_stopped_process_loses_its_lease_and_a_living_one_does_not(
    store: ObjectStore, owner: "subprocess.Popen[bytes]"
) -> None:
    mine = Leases(store, "claims/", LeaseTimes(0.05, lost_after_seconds=1.0, poll_seconds=0.02))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(mine.wait_until_free, QUESTION)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=1.5)
        os.kill(owner.pid, signal.SIGSTOP)
        waiting.result(timeout=60)
    assert mine.take(QUESTION)
    os.kill(owner.pid, signal.SIGCONT)
    mine.renew(QUESTION)
    mine.give_up(QUESTION)
    mine.close()


@pytest.mark.parametrize("content", [b"", b"{}", b"ab" * 16, b'{"owner": "../../current.json"}'])
def test_what_is_no_lease_of_ours_keeps_nobody_off(
    store: ObjectStore, leases: Leases, content: bytes
) -> None:
    store.write(f"claims/{QUESTION}", content)
    assert leases.find_holder(QUESTION) is None
    assert leases.take(QUESTION)
    leases.renew(QUESTION)
    leases.give_up(QUESTION)


def test_who_has_watched_a_dead_worker_for_long_enough_spares_the_others_that(
    store: ObjectStore, leases: Leases
) -> None:
    abandon(store, QUESTION)
    leases.wait_until_free(QUESTION)
    patient = Leases(store, "claims/", LIVELY)
    assert patient.take(QUESTION)  # though it would wait for a minute
    patient.give_up(QUESTION)
    patient.close()


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("node-7", "node-7"),
        ("node\n2026 ERROR forged", "node\\n2026 ERROR forged"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("n\u202e\u200b\u2028\udcff", "n\\u202e\\u200b\\u2028? since"),
        ("[bold]<b>", "[bold]<b>"),
        ("x" * 60_000, "x" * 64 + " since"),
    ],
    ids=["usual", "new line", "terminal", "invisible", "markup", "long"],
)
def test_the_host_of_an_owner_is_shown_escaped_on_one_line(
    store: ObjectStore, leases: Leases, host: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert leases.take(QUESTION)
    owner = Leases(store, "claims/", LIVELY)
    monkeypatch.setattr("socket.gethostname", lambda: host)
    monkeypatch.setattr(lease_module, "is_known_dead", lambda process: True)
    assert owner.take(QUESTION)
    with pytest.raises(LeaseLostError) as lost:
        leases.renew(QUESTION)
    assert shown in str(lost.value)
    assert (
        str(lost.value).isascii() and str(lost.value).isprintable() and len(str(lost.value)) < 400
    )
    owner.give_up(QUESTION)
    owner.close()
