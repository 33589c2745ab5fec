"""Ctrl-C and SIGTERM while answers are on their way: soon over, and nothing unaccounted."""

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from coupled_core.errors import StorageError
from coupled_core.llm import online
from coupled_core.llm.spending import Ledger
from coupled_core.storage.leases import Leases
from coupled_core.storage.open_store import open_store
from tests.messages_server.fixture import start_messages_server  # noqa: F401
from tests.messages_server.process import RunningServer
from tests.unit.splitting.llm.groups import SOON, make_groups, make_splitter

NUM_SLOTS = 2
START = Callable[..., RunningServer]


class _TerminatedError(BaseException):
    """As Prefect's signal, which is no exception either."""


def _terminate(*_: object) -> None:
    raise _TerminatedError


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, _TerminatedError)]
)
def test_slow_answers_are_given_up_soon_and_counted_as_paid(
    start_messages_server: START,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    raised: type[BaseException],
) -> None:
    server = start_messages_server(answer_seconds=300.0)
    monkeypatch.setattr(online, "_GRACE_SECONDS", 0.5)
    splitter = make_splitter(tmp_path, transport="online", max_concurrency=NUM_SLOTS, no_cap=True)
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: _terminate}
    before = signal.signal(number, handlers[number])
    told = threading.Thread(target=_signal_when_asked, args=(server, number))
    told.start()
    try:
        with pytest.raises(raised):
            splitter.split(make_groups(6))
    finally:
        ended_at = time.monotonic()
        signal.signal(number, before)
        told.join()
    assert ended_at - _told_at[0] < 30.0
    assert server.counters()["requests"]["messages"] <= NUM_SLOTS  # nothing new was begun
    assert Ledger(open_store(tmp_path), "run").total() > 0.0


def test_an_answer_that_comes_within_the_grace_is_kept(
    start_messages_server: START,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = start_messages_server(answer_seconds=2.0)
    monkeypatch.setattr(online, "_GRACE_SECONDS", 60.0)
    splitter = make_splitter(tmp_path, transport="online", max_concurrency=1, no_cap=True)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    told = threading.Thread(target=_signal_when_asked, args=(server, signal.SIGINT))
    told.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            splitter.split(make_groups(3))
    finally:
        signal.signal(signal.SIGINT, before)
        told.join()
    assert len(list(tmp_path.glob("answers/*/*.json"))) == 1


def test_an_error_while_another_worker_is_awaited_cuts_no_answer_off(
    start_messages_server: START,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = start_messages_server(answer_seconds=3.0)
    monkeypatch.setattr(online, "_GRACE_SECONDS", 0.0)
    splitter = make_splitter(tmp_path, transport="online", max_concurrency=2, no_cap=True)
    groups = make_groups(2)

    def fail(*_: object) -> None:
        _wait_for_question(server)
        raise StorageError("the disk is full")

    monkeypatch.setattr(Leases, "wait_until_free", fail)
    other = Leases(open_store(tmp_path), "claims/", SOON.lease)
    with other.holding(splitter.request_sha256(groups[0])), pytest.raises(StorageError):
        splitter.split(groups)
    other.close()
    assert len(list(tmp_path.glob("answers/*/*.json"))) == 1


_told_at = [0.0]


def _signal_when_asked(server: RunningServer, number: signal.Signals) -> None:
    _wait_for_question(server)
    time.sleep(0.5)
    _told_at[0] = time.monotonic()
    os.kill(os.getpid(), number)


def _wait_for_question(server: RunningServer) -> None:
    while server.counters()["requests"].get("messages", 0) < 1:
        time.sleep(0.05)
