"""Two processes on the same prompts at the same time, against a real HTTP server: paid once."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Timer

import pytest

from coupled_core.config import SplitConfig
from coupled_core.splitting.llm.splitter import LlmSplitter
from coupled_core.storage.leases import Leases
from coupled_core.storage.local import LocalStore
from coupled_core.storage.open_store import open_store
from tests.messages_server.faults import prompts_key
from tests.messages_server.process import RunningServer
from tests.unit.splitting.llm.groups import (
    SOON,
    InterruptedStore,
    make_groups,
    make_splitter,
    split_all,
)

NUM_GROUPS, CONCURRENCY = 24, 3
PATIENCE = replace(SOON, twin_seconds=60.0)
"""Both twins live: neither may be taken for dead because its machine is busy."""
START = Callable[..., RunningServer]
START_TWIN = Callable[..., BaseProcess]


def split_all_groups(environment: Mapping[str, str], folder: Path, *run: str) -> None:
    """Split the set, as a process of its own does."""
    os.environ.update(environment)
    account, transport, order = run
    groups = make_groups(NUM_GROUPS)[:: 1 if order == "forwards" else -1]
    config = SplitConfig.model_validate(
        {
            "cache_uri": str(folder),
            "transport": transport,
            "batch_size": 10,
            "max_concurrency": CONCURRENCY,
            "no_cap": True,
        }
    )
    LlmSplitter(config, account, PATIENCE).prepare(lambda: iter(groups), len(groups))


def list_answers(folder: Path) -> list[Path]:
    return list(folder.glob("answers/*/*.json"))


@pytest.fixture
def start_twin(tmp_path: Path) -> Iterator[START_TWIN]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["anthropic", __name__])
    twins: list[BaseProcess] = []

    def start(server: RunningServer, *run: str) -> BaseProcess:
        arguments = (server.environment, tmp_path, *run)
        twins.append(context.Process(target=split_all_groups, args=arguments))
        twins[-1].start()
        return twins[-1]

    yield start
    for twin in twins:
        twin.kill()
        twin.join()


@pytest.mark.parametrize(
    ("transport", "orders"),
    [
        ("online", ("forwards", "forwards")),
        ("batch", ("forwards", "backwards")),  # their batches overlap and are not the same
    ],
)
def test_what_two_runs_ask_at_the_same_time_is_paid_once(
    start_messages_server: START,
    start_twin: START_TWIN,
    tmp_path: Path,
    transport: str,
    orders: tuple[str, str],
) -> None:
    server = start_messages_server(answer_seconds=0.2, batch_seconds=0.5)
    twins = [start_twin(server, f"run-{n}", transport, order) for n, order in enumerate(orders)]
    for twin in twins:
        twin.join()
    assert [twin.exitcode for twin in twins] == [0, 0]
    paid = server.counters()["paid"]
    assert paid[transport] == paid["distinct_prompts"] == NUM_GROUPS
    assert paid["max_by_prompts"] == 1
    left = {info.key.split("/")[0] for info in open_store(tmp_path).list("")}
    assert left <= {"answers", "spent", "finished-batches"}


def test_a_twin_of_a_killed_run_finishes_and_pays_for_no_stored_answer_again(
    start_messages_server: START,
    start_twin: START_TWIN,
    tmp_path: Path,
) -> None:
    server = start_messages_server(answer_seconds=0.5)
    doomed = start_twin(server, "doomed", "online", "forwards")
    other = start_twin(server, "other", "online", "forwards")
    while len(list_answers(tmp_path)) < NUM_GROUPS // 3:
        assert doomed.is_alive()
        time.sleep(0.02)
    doomed.kill()
    doomed.join()
    stored = list_answers(tmp_path)
    other.join()
    assert other.exitcode == 0
    assert len(list_answers(tmp_path)) == NUM_GROUPS
    paid, splitter = server.paid()["by_prompts"], make_splitter(tmp_path)
    names = {splitter.request_sha256(group): group for group in make_groups(NUM_GROUPS)}
    assert all(paid[prompts_key(names[path.stem].prompts)] == 1 for path in stored)
    # What the dead one had paid for and not stored is lost: at most what it could ask at a time.
    assert sum(paid.values()) <= NUM_GROUPS + CONCURRENCY


@pytest.mark.parametrize(("transport", "prefix"), [("online", "claims/"), ("batch", "batches/")])
def test_what_a_twin_has_stored_between_our_look_and_our_claim_is_not_paid_again(
    start_messages_server: START, tmp_path: Path, transport: str, prefix: str
) -> None:
    server, groups = start_messages_server(), make_groups(3)
    twin = make_splitter(tmp_path, "twin", transport=transport)
    ours = make_splitter(tmp_path, "ours", transport=transport, max_concurrency=1)
    store = InterruptedStore(tmp_path, prefix, lambda: twin.split(groups))
    ours.asker.session = replace(ours.session, store=store)
    assert {split.source for split in split_all(ours.split(groups))} == {"cache"}
    assert server.counters()["paid"][transport] == 3


def test_a_paused_worker_leaves_its_question_to_whoever_took_it_over(
    messages_server: RunningServer, tmp_path: Path
) -> None:
    other = Leases(LocalStore(tmp_path), "claims/", SOON.lease)
    asked_meanwhile: list[object] = []
    is_armed: list[bool] = []

    def give_up(name: str) -> None:
        asked_meanwhile.append(messages_server.counters()["requests"])
        other.give_up(name)

    class TakenOverStore(LocalStore):
        """A folder in which a lease is taken over between its creation and the next look at it."""

        def write_if_absent(self, key: str, data: bytes) -> str:
            etag, name = super().write_if_absent(key, data), key.rpartition("/")[2]
            if is_armed and key == f"claims/{name}" and not asked_meanwhile:
                self.delete(key)
                assert other.take(name)
                Timer(1.0, give_up, [name]).start()
            return etag

    splitter = make_splitter(tmp_path, transport="online")
    splitter.asker.session = replace(splitter.session, store=TakenOverStore(tmp_path))
    first, second = make_groups(2)
    split_all(splitter.split([first]))  # from here on a request takes no time
    is_armed.append(True)
    split_all(splitter.split([second]))
    other.close()
    assert asked_meanwhile == [{"messages": 1}]
    assert messages_server.counters()["requests"] == {"messages": 2}
