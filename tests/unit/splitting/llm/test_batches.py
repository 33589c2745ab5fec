"""The batch transport against a real HTTP server: lost, late, failed, killed, shared."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from coupled_core.config import DEFAULT_PRICES
from coupled_core.errors import LlmBudgetError, LlmError
from coupled_core.llm.batches import BatchTransport
from coupled_core.llm.spending import Ledger
from coupled_core.records import GroupSplit, PromptGroup, Rejection
from coupled_core.splitting.llm.question import build_question
from coupled_core.storage.open_store import open_store
from tests.messages_server.process import RunningServer
from tests.unit.splitting.llm.groups import make_group, make_groups, make_splitter, split_all

ROOT = Path(__file__).parents[4]
BATCH = {"transport": "batch"}
START = Callable[..., RunningServer]
SPLIT_40 = """
import sys
from pathlib import Path
from tests.unit.splitting.llm.groups import make_groups, make_splitter
splitter = make_splitter(Path(sys.argv[1]), transport="batch", batch_size=10)
splitter.prepare(lambda: iter(make_groups(40)), 40)
"""


def spent(folder: Path, account: str = "run") -> float:
    return Ledger(open_store(folder), account).total()


def billed(server: RunningServer) -> float:
    price, tokens = DEFAULT_PRICES["claude-haiku-5-5"], server.counters()["tokens"]
    plain = tokens["batch_input_tokens"] * price.input_usd
    plain += tokens["batch_output_tokens"] * price.output_usd
    return price.batch_factor * plain / 1e6


def test_a_set_is_split_in_batches_at_the_batch_price_to_the_last_digit(
    messages_server: RunningServer, tmp_path: Path
) -> None:
    splitter = make_splitter(tmp_path, batch_size=4, **BATCH)
    splitter.prepare(lambda: iter(make_groups(10)), 10)
    splits = split_all(splitter.split(make_groups(10)))
    counters = messages_server.counters()
    assert counters["requests"]["batch_create"] == 3
    assert counters["paid"]["batch"] == 10
    assert {split.source for split in splits} == {"batch"}
    total = sum(split.llm_cost_usd for split in splits)
    assert total == pytest.approx(billed(messages_server), abs=1e-12)
    assert spent(tmp_path) == pytest.approx(total, abs=1e-12)
    assert list((tmp_path / "batches").glob("*")) == []


def test_only_rows_that_failed_are_submitted_again(
    messages_server: RunningServer, tmp_path: Path
) -> None:
    markers = ["", "[[error]]", "[[expire]]", "[[cancel]]", "[[malformed x1]]", "[[invalid]]"]
    groups = [make_group(number, marker) for number, marker in enumerate(markers)]
    *splits, invalid = make_splitter(tmp_path, **BATCH).split(groups)
    assert all(isinstance(split, GroupSplit) for split in splits)
    assert isinstance(invalid, Rejection)
    assert "does not take the request" in invalid.message
    counters = messages_server.counters()
    assert counters["paid"]["max_by_prompts"] == 1
    assert counters["paid"]["repairs"] == 1
    assert counters["rows"] == {"succeeded": 6, "errored": 2, "expired": 1, "canceled": 1}


@pytest.mark.parametrize("settings", [{"lost_creates": 1}, {"batch_not_found": 2}])
def test_a_lost_or_late_creation_is_not_paid_twice(
    start_messages_server: START, tmp_path: Path, settings: dict[str, int]
) -> None:
    server = start_messages_server(batch_seconds=0.3, **settings)
    split_all(make_splitter(tmp_path, **BATCH).split(make_groups(5)))
    counters = server.counters()
    assert counters["requests"]["batch_create"] == 1
    assert counters["paid"]["batch"] == 5


def test_somebody_elses_batch_of_the_same_size_is_not_taken_for_a_lost_one(
    start_messages_server: START, tmp_path: Path
) -> None:
    server = start_messages_server()
    others = [
        replace(group, prompts=(f"B{group.prompts[0][1:]}", group.prompts[1]))
        for group in make_groups(5)
    ]
    make_splitter(tmp_path / "theirs", **BATCH).split(others)
    server.set(lost_creates=2)
    split_all(make_splitter(tmp_path / "ours", **BATCH).split(make_groups(5)))
    assert server.counters()["paid"]["batch"] == 10


def test_a_batch_that_expires_as_a_whole_is_asked_again(
    start_messages_server: START, tmp_path: Path
) -> None:
    server = start_messages_server(expired_batches=1)
    split_all(make_splitter(tmp_path, **BATCH).split(make_groups(5)))
    assert server.counters()["rows"] == {"expired": 5, "succeeded": 5}


def test_batches_that_never_bring_anything_end_in_an_error(
    start_messages_server: START, tmp_path: Path
) -> None:
    start_messages_server(expired_batches=99)
    with pytest.raises(LlmError, match="brought no answer"):
        make_splitter(tmp_path, **BATCH).split(make_groups(2))


def test_an_api_that_takes_no_row_is_believed_to_mean_all_of_them(
    messages_server: RunningServer, tmp_path: Path
) -> None:
    groups = [make_group(number, "[[invalid]]") for number in range(3)]
    with pytest.raises(LlmError, match="took none of 3 requests: scripted invalid request"):
        make_splitter(tmp_path, **BATCH).split(groups)
    assert not list(tmp_path.glob("answers/*/*.json"))


def test_a_killed_process_finds_its_batches_again(
    start_messages_server: START, tmp_path: Path
) -> None:
    server = start_messages_server(batch_seconds=1.5)
    process = subprocess.Popen([sys.executable, "-c", SPLIT_40, str(tmp_path)], cwd=ROOT)
    while server.counters()["requests"].get("batch_create", 0) < 2:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    splitter = make_splitter(tmp_path, batch_size=10, **BATCH)
    splitter.prepare(lambda: iter(make_groups(40)), 40)
    splits = split_all(splitter.split(make_groups(40)))
    paid = server.paid()["by_custom_id"]
    assert (len(paid), max(paid.values())) == (40, 1)
    total = sum(split.llm_cost_usd for split in splits)
    assert total == pytest.approx(billed(server), abs=1e-12)
    assert spent(tmp_path) == pytest.approx(total, abs=1e-12)
    requests = server.counters()["requests"]
    splitter.prepare(lambda: iter(make_groups(40)), 40)
    assert server.counters()["requests"] == requests


def test_another_runs_open_batch_is_waited_for_instead_of_asking_again(
    start_messages_server: START, tmp_path: Path
) -> None:
    server = start_messages_server(batch_seconds=0.5)
    first = make_splitter(tmp_path, "first", **BATCH)
    requests = [build_question(first.session.config, group) for group in make_groups(5)]
    BatchTransport(first.session).submit(requests)
    splits = split_all(make_splitter(tmp_path, "second", **BATCH).split(make_groups(5)))
    assert {(split.source, split.llm_cost_usd) for split in splits} == {("cache", 0.0)}
    assert server.counters()["paid"]["batch"] == 5
    assert spent(tmp_path, "first") == pytest.approx(billed(server), abs=1e-12)


def test_a_batch_that_was_announced_and_never_created_is_forgotten(
    messages_server: RunningServer, tmp_path: Path
) -> None:
    splitter = make_splitter(tmp_path, **BATCH)
    splitter.split(make_groups(1))
    record = json.dumps({
        "account": "run", "purchase": "batch-never", "model": "claude-haiku-5-5",
        "is_refresh": False, "written_at": "2026-01-01T00:00:00Z", "batch_id": None,
        "rows": [{"request_sha256": splitter.request_sha256(make_group(7)), "attempt": 0,
                  "group_id": "group-7"}],
    })  # fmt: skip
    open_store(tmp_path).write("batches/batch-never.json", record.encode())
    split_all(make_splitter(tmp_path, **BATCH).split(make_groups(8)))
    assert messages_server.counters()["paid"]["batch"] == 8


def test_the_cap_bounds_batches_and_what_fits_is_asked(
    messages_server: RunningServer, tmp_path: Path
) -> None:
    groups, cap_usd = make_groups(40), 0.002
    with pytest.raises(LlmBudgetError, match=r"0\.002 USD"):
        make_splitter(tmp_path, max_llm_usd=cap_usd, **BATCH).split(groups)
    assert 0.7 * cap_usd < billed(messages_server) <= cap_usd
    assert spent(tmp_path) == pytest.approx(billed(messages_server), abs=1e-12)
    split_all(make_splitter(tmp_path, max_llm_usd=1.0, **BATCH).split(groups))
    assert messages_server.counters()["paid"]["max_by_prompts"] == 1


def test_auto_sends_small_sets_online(messages_server: RunningServer, tmp_path: Path) -> None:
    splitter = make_splitter(tmp_path)
    splitter.prepare(lambda: iter(make_groups(3)), 3)
    assert messages_server.counters()["requests"] == {"messages": 3}


def test_memory_does_not_grow_with_the_answers_of_a_set(
    messages_server: RunningServer, tmp_path: Path
) -> None:
    read: list[int] = []

    def read_groups() -> "list[PromptGroup] | object":
        for group in make_groups(60):
            read.append(len(list(tmp_path.glob("answers/*/*.json"))))
            yield group

    splitter = make_splitter(tmp_path, transport="online", max_concurrency=1)
    splitter.prepare(read_groups, 60)  # type: ignore[arg-type]
    # Groups are read as answers come in: never more than a window ahead.
    assert max(index - stored for index, stored in enumerate(read)) <= 4
