"""A few of the disturbances of `tests.faults.campaign`, which has them all."""

import argparse
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.faults.campaign import (
    kills_on_disk,
    kills_on_s3,
    network_faults,
    outages,
    read_part,
    template_of,
)
from tests.faults.collections_beside import collect_beside
from tests.faults.disturbances import Reader, Tally, reader
from tests.faults.full_disk import can_mount, run_in_namespace
from tests.faults.operations import operation_named
from tests.faults.proxy import NETWORK, Fault, Request
from tests.faults.races import race
from tests.faults.servers import DisturbedS3, disturbed_s3

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def s3() -> Iterator[DisturbedS3]:
    with disturbed_s3() as server:
        yield server


@pytest.fixture(scope="module")
def watcher(s3: DisturbedS3) -> Iterator[Reader]:
    with reader(s3.direct) as process:
        yield process


def _assert_clean(tally: Tally) -> None:
    assert tally.problems == []
    assert (tally.rows_lost, tally.rows_doubled, tally.half_states, tally.damaged) == (0, 0, 0, 0)
    assert tally.injections > 0


def _assert_refused(tally: Tally) -> None:
    _assert_clean(tally)
    # One of the requests is for the page at the root, which comes after the commit: no error.
    assert tally.survived <= 1
    assert tally.refused == tally.injections - tally.survived > 0


def test_a_commit_killed_between_any_two_changes_on_disk_is_whole_or_not_there(
    watcher: Reader,
) -> None:
    tally = kills_on_disk(template_of(operation_named("commit")), watcher, slice(None, None, 3))
    _assert_clean(tally)
    assert tally.killed == tally.injections > 8
    assert tally.reads > 0


def test_a_compaction_killed_between_changes_on_disk_loses_nothing_and_is_completed(
    watcher: Reader,
) -> None:
    tally = kills_on_disk(template_of(operation_named("compact")), watcher, slice(1, None, 6))
    _assert_clean(tally)
    assert tally.killed == tally.injections > 4


@pytest.mark.parametrize("name", ["commit", "rollback"])
def test_a_process_killed_around_the_writes_that_decide_leaves_a_whole_dataset(
    s3: DisturbedS3, watcher: Reader, name: str
) -> None:
    def decides(request: Request) -> bool:
        return request.method == "PUT" and ("snapshots/" in request.path or _moves(request))

    tally = kills_on_s3(template_of(operation_named(name)), s3, watcher, decides)
    _assert_clean(tally)
    assert tally.killed == {"commit": 4, "rollback": 2}[name]


def test_every_network_fault_at_the_pointer_leaves_a_whole_dataset(
    s3: DisturbedS3, watcher: Reader
) -> None:
    def choose(request: Request) -> list[Fault]:
        return list(NETWORK) if request.method == "PUT" and _moves(request) else []

    tally = network_faults(template_of(operation_named("commit")), s3, watcher, choose)
    _assert_clean(tally)
    assert tally.injections == len(NETWORK)
    assert tally.survived > 0  # a machine under load may time out where nothing was injected


def test_a_part_that_goes_up_in_pieces_survives_that_its_last_request_is_lost(
    s3: DisturbedS3, watcher: Reader
) -> None:
    faults = [Fault.RESET_BEFORE, Fault.LOST_RESPONSE, Fault.ERROR_AFTER]

    def choose(request: Request) -> list[Fault]:
        is_last = request.method == "POST" and "uploadId=" in request.path
        return faults if is_last and "/probe-" not in request.path else []

    tally = network_faults(template_of(operation_named("large commit")), s3, watcher, choose)
    _assert_clean(tally)
    assert tally.injections == len(faults)


def test_an_outage_is_an_error_of_ours_and_the_dataset_heals(
    s3: DisturbedS3, watcher: Reader
) -> None:
    tally = outages(template_of(operation_named("commit")), s3, watcher, slice(None, None, 12))
    _assert_refused(tally)


@pytest.mark.parametrize("fault", [Fault.EXPIRED, Fault.SKEWED])
def test_credentials_or_a_clock_that_go_wrong_in_mid_run_are_an_error_and_the_dataset_heals(
    s3: DisturbedS3, watcher: Reader, fault: Fault
) -> None:
    template = template_of(operation_named("commit"))
    tally = outages(template, s3, watcher, slice(None, None, 8), fault=fault)
    _assert_refused(tally)


def test_collections_beside_a_writer_and_a_reader_take_nothing_that_either_needs(
    tmp_path: Path,
) -> None:
    _assert_collected(collect_beside(lambda: str(tmp_path / "data"), {}, 6))


def test_on_s3_they_take_nothing_either(s3: DisturbedS3) -> None:
    _assert_collected(collect_beside(s3.new_uri, s3.direct, 6))


def _assert_collected(tally: Tally) -> None:
    assert tally.is_clean, tally.problems
    assert tally.reads > 0 and tally.collections > 0


def test_of_racing_processes_both_win_and_a_shard_of_both_counts_once(tmp_path: Path) -> None:
    names = (f"{tmp_path}/{number}" for number in count())
    tally, _ = race(lambda: next(names), {}, 4)
    _assert_clean(tally)
    assert tally.reads > 0


def test_a_full_or_read_only_disk_leaves_a_whole_dataset() -> None:
    if not can_mount():
        pytest.skip("this system lets nobody mount in a namespace of their own")
    tally = run_in_namespace()
    _assert_clean(tally)
    assert tally.refused > tally.survived > 0


def _moves(request: Request) -> bool:
    return request.path.partition("?")[0].endswith("current.json")


def test_a_part_of_the_campaign_is_one_of_its_parts() -> None:
    assert read_part("2/4") == (2, 4)
    for odd in ("0/4", "5/4", "-1/4", "2", "1/0", "a/b", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="expected a part"):
            read_part(odd)
