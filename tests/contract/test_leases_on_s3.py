"""Leases on questions in two real S3 servers: one heeds conditional writes, the other does not."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from coupled_core.storage.leases import Leases, LeaseTimes
from coupled_core.storage.open_store import open_store
from coupled_core.storage.store import ObjectStore

QUESTION = "ab" * 32
LEASE = LeaseTimes(beat_seconds=0.5, lost_after_seconds=60.0, poll_seconds=0.05)


@pytest.fixture(params=["moto_server", "rclone_server"])
def store(request: pytest.FixtureRequest, new_bucket: Callable[[Any], str]) -> ObjectStore:
    return open_store(new_bucket(request.getfixturevalue(request.param)))


@pytest.fixture
def workers(store: ObjectStore) -> Iterator[list[Leases]]:
    workers = [Leases(store, "claims/", LEASE) for _ in range(6)]
    yield workers
    for worker in workers:
        worker.close()


def test_a_lease_keeps_everybody_else_off_until_it_is_given_up(
    store: ObjectStore, workers: list[Leases]
) -> None:
    first, *others = workers
    assert first.take(QUESTION)
    assert not any(other.take(QUESTION) for other in others)
    first.give_up(QUESTION)
    assert others[0].take(QUESTION)
    others[0].give_up(QUESTION)
    for worker in workers:
        worker.close()
    assert [info.key for info in store.list("")] == []


def test_of_those_who_lease_at_the_same_moment_one_succeeds_where_conditions_hold(
    moto_server: Any, new_bucket: Callable[[Any], str]
) -> None:
    store = open_store(new_bucket(moto_server))
    workers = [Leases(store, "claims/", LEASE) for _ in range(6)]
    with ThreadPoolExecutor(len(workers)) as pool:
        assert sum(pool.map(lambda worker: worker.take(QUESTION), workers)) == 1
    for worker in workers:
        worker.close()
