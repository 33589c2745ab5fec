"""Two workers on one question: one asks, the other waits, or takes over from the dead."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from coupled_core.errors import StorageError
from coupled_core.llm.claims import Claims, Lease
from coupled_core.storage.local import LocalStore
from coupled_core.storage.store import ObjectStore, open_store

QUESTION = "ab" * 32
NEVER = Lease(beat_seconds=3600.0, lost_after_seconds=0.3, poll_seconds=0.02)
"""A worker with this lease beats once and then no more, as if it were dead."""
LIVELY = Lease(beat_seconds=0.05, lost_after_seconds=60.0, poll_seconds=0.02)


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(tmp_path)


@pytest.fixture
def claims(store: ObjectStore) -> Iterator[Claims]:
    claims = Claims(store, NEVER)
    yield claims
    claims.close()


def keys_of(store: ObjectStore) -> list[str]:
    return [info.key for info in store.list("")]


def abandon(store: ObjectStore, *questions: str) -> None:
    """Claim questions as a process does that is killed before it gives them up."""
    dead = Claims(store, NEVER)
    assert all(map(dead.take, questions))


def test_a_claim_keeps_others_off_until_it_is_given_up_and_leaves_nothing(
    store: ObjectStore,
) -> None:
    mine, other = Claims(store, LIVELY), Claims(store, LIVELY)
    with mine.holding(QUESTION) as is_mine, other.holding(QUESTION) as is_theirs:
        assert (is_mine, is_theirs) == (True, False)
    assert other.take(QUESTION)
    other.give_up(QUESTION)
    mine.close()
    other.close()
    assert keys_of(store) == []


def test_nothing_is_written_before_the_first_claim(store: ObjectStore) -> None:
    Claims(store, LIVELY).close()
    assert keys_of(store) == []


def test_who_waits_comes_back_when_the_claim_is_given_up(store: ObjectStore) -> None:
    mine, other = Claims(store, LIVELY), Claims(store, LIVELY)
    with ThreadPoolExecutor(1) as pool:
        with mine.holding(QUESTION):
            waiting = pool.submit(other.wait_until_free, QUESTION)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.5)
        waiting.result(timeout=60)
    mine.close()


def test_a_worker_that_beats_keeps_its_claims_for_longer_than_the_patience_of_others(
    store: ObjectStore, claims: Claims
) -> None:
    living = Claims(store, LIVELY)
    with ThreadPoolExecutor(1) as pool, living.holding(QUESTION):
        waiting = pool.submit(claims.wait_until_free, QUESTION)
        with pytest.raises(TimeoutError):
            waiting.result(timeout=5 * NEVER.lost_after_seconds)
    living.close()


def test_of_many_who_find_an_abandoned_claim_exactly_one_takes_it_over(store: ObjectStore) -> None:
    abandon(store, QUESTION)
    lease = Lease(beat_seconds=0.1, lost_after_seconds=3.0, poll_seconds=0.02)
    others = [Claims(store, lease) for _ in range(8)]

    with ThreadPoolExecutor(len(others)) as pool:
        list(pool.map(lambda other: other.wait_until_free(QUESTION), others))
        assert sum(pool.map(lambda other: other.take(QUESTION), others)) == 1
    for other in others:
        other.close()


def test_the_other_claims_of_a_dead_worker_are_free_at_once(
    store: ObjectStore, claims: Claims
) -> None:
    second = "cd" * 32
    abandon(store, QUESTION, second)
    claims.wait_until_free(QUESTION)
    patient = Claims(store, LIVELY)
    assert claims.take(QUESTION)
    assert patient.take(second)  # though it would wait for a minute
    patient.close()


class FailingStore(LocalStore):
    """A folder that can lose its connection."""

    is_down = False

    def delete(self, key: str) -> None:
        if self.is_down:
            raise StorageError("the connection is lost")
        super().delete(key)


def test_a_claim_that_could_not_be_given_up_does_not_keep_its_owner_off(tmp_path: Path) -> None:
    store = FailingStore(tmp_path)
    claims = Claims(store, NEVER)
    assert claims.take(QUESTION)
    store.is_down = True
    claims.give_up(QUESTION)
    store.is_down = False
    assert store.exists(f"claims/{QUESTION}")
    assert claims.take(QUESTION)
    claims.give_up(QUESTION)
    assert not store.exists(f"claims/{QUESTION}")
    claims.close()


def test_threads_of_one_worker_keep_each_other_off_and_share_its_beat(
    store: ObjectStore, claims: Claims
) -> None:
    other = Claims(store, LIVELY)
    assert claims.take(QUESTION)
    assert not claims.take(QUESTION)
    claims.close()  # as a thread does that has nothing more to ask
    assert not other.take(QUESTION)
    claims.give_up(QUESTION)
    claims.close()
    other.close()
    assert keys_of(store) == []
