"""Whatever comes in the place of answers: named, bounded, billed within the cap, nothing lost."""

import base64
import json
import logging
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from coupled_core.errors import LlmError, StorageError
from coupled_core.llm import pace
from coupled_core.llm.spending import Ledger
from coupled_core.records import GroupSplit, PromptGroup, Rejection, SplitOutcome
from coupled_core.splitting.llm.estimate import count_sample
from coupled_core.splitting.llm.splitter import LlmSplitter
from coupled_core.storage.open_store import open_store
from tests.messages_server.process import RunningServer
from tests.unit.llm.hostile import (
    NO_MESSAGE,
    ON_THE_WIRE,
    PARTLY_WRONG,
    RETRY_AFTER,
    make_message,
)
from tests.unit.splitting.llm.groups import make_group, make_splitter
from tests.unit.splitting.llm.test_estimate import sample_of

CAP_USD = 0.05
GROUP = make_group(0)
GOOD = json.dumps(
    {
        "shares_background": True,
        "background_prompt": "In a quiet garden.",
        "entity_prompts": ["A fox of kind k0.", "An owl."],
        "pairs": [
            {
                "image_0": 0,
                "image_1": 1,
                "edit_instruction": "Replace the fox of kind k0 with an owl.",
                "inverse_instruction": "Replace the owl with a fox of kind k0.",
            }
        ],
        "variation_kind": "entity_swap",
        "flagged": False,
        "flag_reason": "",
    }
)


@pytest.fixture(scope="module")
def one_server() -> Iterator[RunningServer]:
    server = RunningServer()
    yield server
    server.stop()


@pytest.fixture
def server(one_server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> RunningServer:
    for name, value in one_server.environment.items():
        monkeypatch.setenv(name, value)
    one_server.reset()
    one_server.set(raw={})
    return one_server


def as_body(data: bytes) -> dict[str, Any]:
    return {"body_base64": base64.b64encode(data).decode()}


def num_requests(server: RunningServer, kind: str) -> int:
    return int(server.counters()["requests"].get(kind, 0))


def split_or_name(splitter: LlmSplitter, group: PromptGroup = GROUP) -> SplitOutcome | LlmError:
    """Return the outcome for a group, or the named error; anything else fails the test."""
    try:
        return splitter.split([group])[0]
    except LlmError as error:
        assert str(error).isprintable() and len(str(error)) < 700
        return error


def check_books(folder: Path, *, at_least: float = 0.0) -> None:
    """Check that nothing in a cache costs less than nothing or more than the cap."""
    spent = Ledger(open_store(folder), "run").total()
    answers = [json.loads(path.read_bytes()) for path in folder.glob("answers/*/*.json")]
    costs = [answer["cost_usd"] for answer in answers]
    assert all(math.isfinite(cost) and cost >= 0.0 for cost in costs)
    assert max(at_least, sum(costs)) <= spent * (1 + 1e-9) <= CAP_USD


def check_recovery(server: RunningServer, folder: Path, transport: str) -> None:
    """Check that with a healthy API the same command ends, and pays for nothing twice."""
    before = len(list(folder.glob("answers/*/*.json")))
    server.set(raw={})
    server.reset()
    splitter = make_splitter(folder, transport=transport, max_llm_usd=CAP_USD)
    assert isinstance(splitter.split([GROUP])[0], GroupSplit | Rejection)
    paid = server.counters()["paid"]
    assert paid["online"] + paid["batch"] <= 2 - min(before, 2) or before == 0
    assert paid["max_by_prompts"] <= 1


@pytest.mark.parametrize("mutate", PARTLY_WRONG.values(), ids=PARTLY_WRONG)
def test_a_message_with_something_wrong_in_it_is_kept_and_ends_as_an_outcome(
    server: RunningServer, tmp_path: Path, mutate: Any
) -> None:
    body = json.dumps(mutate(make_message(GOOD))).encode()
    server.set(raw={"messages": as_body(body)})
    splitter = make_splitter(tmp_path, transport="online", max_llm_usd=CAP_USD)
    outcome = split_or_name(splitter)
    assert isinstance(outcome, GroupSplit | Rejection)
    asked = num_requests(server, "messages")
    assert 1 <= asked <= 2  # the question, and its repair
    assert len(list(tmp_path.glob("answers/*/*.json"))) == asked
    check_books(tmp_path, at_least=outcome.llm_cost_usd)
    assert outcome.llm_cost_usd > 0.0
    check_recovery(server, tmp_path, "online")


@pytest.mark.parametrize("name", [name for name in PARTLY_WRONG if name.startswith(("us", "to"))])
def test_a_bill_that_cannot_be_is_counted_at_the_worst_case_and_says_so(
    server: RunningServer, tmp_path: Path, name: str
) -> None:
    body = json.dumps(PARTLY_WRONG[name](make_message(GOOD))).encode()
    server.set(raw={"messages": as_body(body)})
    splitter = make_splitter(tmp_path, transport="online", max_llm_usd=CAP_USD)
    assert isinstance(split_or_name(splitter), GroupSplit)
    (path,) = tmp_path.glob("answers/*/*.json")
    answer = json.loads(path.read_bytes())
    assert "counted at the worst case" in answer["problem"]
    assert answer["input_tokens"] > 3000 and answer["output_tokens"] > 400
    assert answer["cost_usd"] == pytest.approx(Ledger(open_store(tmp_path), "run").total())


@pytest.mark.parametrize("make", NO_MESSAGE.values(), ids=NO_MESSAGE)
def test_what_is_no_message_is_asked_for_three_times_and_named(
    server: RunningServer, tmp_path: Path, make: Any
) -> None:
    body = make(make_message(GOOD))
    server.set(raw={"messages": as_body(body)})
    splitter = make_splitter(tmp_path, transport="online", max_llm_usd=CAP_USD)
    error = split_or_name(splitter)
    assert isinstance(error, LlmError)
    assert "not in its own words" in str(error)
    assert num_requests(server, "messages") == 3
    assert list(tmp_path.glob("answers/*/*.json")) == []
    check_books(tmp_path, at_least=1e-9)  # each may have been paid for
    check_recovery(server, tmp_path, "online")


@pytest.mark.parametrize("reply", ON_THE_WIRE.values(), ids=ON_THE_WIRE)
def test_a_broken_exchange_is_repeated_within_bounds_and_named(
    server: RunningServer, tmp_path: Path, reply: Mapping[str, Any]
) -> None:
    server.set(raw={"messages": reply})
    splitter = make_splitter(tmp_path, transport="online", max_llm_usd=CAP_USD)
    assert isinstance(split_or_name(splitter), LlmError)
    assert 1 <= num_requests(server, "messages") <= 10
    check_books(tmp_path)
    check_recovery(server, tmp_path, "online")


def test_one_broken_answer_among_good_ones_costs_one_more_request(
    server: RunningServer, tmp_path: Path
) -> None:
    server.set(raw={"messages": {"body": "<html>", "times": 1}})
    splitter = make_splitter(tmp_path, transport="online", max_concurrency=1, no_cap=True)
    outcomes = splitter.split([make_group(number) for number in range(4)])
    assert all(isinstance(outcome, GroupSplit) for outcome in outcomes)
    assert num_requests(server, "messages") == 5


def hostile_line(message: object, custom_id: object) -> bytes:
    result = {"type": "succeeded", "message": message}
    return json.dumps({"custom_id": custom_id, "result": result}).encode()


@pytest.mark.parametrize("mutate", PARTLY_WRONG.values(), ids=PARTLY_WRONG)
def test_a_wrong_message_in_a_batch_is_kept_and_ends_as_an_outcome(
    server: RunningServer, tmp_path: Path, mutate: Any
) -> None:
    splitter = make_splitter(tmp_path, transport="batch", max_llm_usd=CAP_USD)
    line = hostile_line(mutate(make_message(GOOD)), splitter.request_sha256(GROUP))
    server.set(raw={"batch_results": {**as_body(line + b"\n"), "times": 1}})
    outcome = split_or_name(splitter)  # a repair comes from the real server
    assert isinstance(outcome, GroupSplit | Rejection)
    assert num_requests(server, "batch_create") <= 2
    check_books(tmp_path, at_least=outcome.llm_cost_usd)
    assert outcome.llm_cost_usd > 0.0


def _result(**result: Any) -> Any:
    return lambda name: json.dumps({"custom_id": name, "result": result}).encode()


LINES: Mapping[str, Any] = {
    "empty": lambda _: b"",
    "no JSON": lambda _: b"<html>",
    "cut off": lambda name: hostile_line(make_message(GOOD), name)[:-9],
    "invalid UTF-8": lambda name: hostile_line(make_message(GOOD), name).replace(b"fox", b"\xff"),
    "an array": lambda _: b"[]",
    "nested deeply": lambda _: b"[" * 10**5,
    "very long": lambda _: b" " + b"x" * 10**7,
    "no custom_id": lambda _: hostile_line(make_message(GOOD), None),
    "a custom_id that is a number": lambda _: hostile_line(make_message(GOOD), 5),
    "a custom_id of somebody else's": lambda _: hostile_line(make_message(GOOD), "0" * 64),
    "no result": lambda name: json.dumps({"custom_id": name}).encode(),
    "a result of unknown type": _result(type="evaporated"),
    "a result whose type is a list": _result(type=["succeeded"]),
    "success without a message": _result(type="succeeded"),
    "success with HTML": _result(type="succeeded", message="<html>"),
    "an error without words": _result(type="errored"),
    "an error that is a number": _result(type="errored", error=5),
    "an error of errors": _result(type="errored", error={"error": {"error": {"type": 7}}}),
    "custom_id twice": lambda n: b'{"custom_id": "a", "custom_id": "' + n.encode() + b'"}',
}


@pytest.mark.parametrize("make", LINES.values(), ids=LINES)
def test_a_line_that_says_nothing_has_its_row_asked_again(
    server: RunningServer, tmp_path: Path, make: Any
) -> None:
    splitter = make_splitter(tmp_path, transport="batch", max_llm_usd=CAP_USD)
    line = make(splitter.request_sha256(GROUP))
    server.set(raw={"batch_results": {**as_body(line + b"\n"), "times": 1}})
    assert isinstance(split_or_name(splitter), GroupSplit)
    assert num_requests(server, "batch_create") == 2
    check_books(tmp_path)


def test_lines_that_never_say_anything_end_in_a_named_error(
    server: RunningServer, tmp_path: Path
) -> None:
    server.set(raw={"batch_results": {"body": "<html>\n"}})
    splitter = make_splitter(tmp_path, transport="batch", max_llm_usd=CAP_USD)
    error = split_or_name(splitter)
    assert isinstance(error, LlmError) and "brought no answer" in str(error)
    assert num_requests(server, "batch_create") == 3
    check_books(tmp_path, at_least=1e-9)


def test_a_row_that_comes_twice_is_kept_and_billed_once(
    server: RunningServer, tmp_path: Path
) -> None:
    splitter = make_splitter(tmp_path, transport="batch", max_llm_usd=CAP_USD)
    line = hostile_line(make_message(GOOD), splitter.request_sha256(GROUP)) + b"\n"
    server.set(raw={"batch_results": {**as_body(line * 3), "times": 1}})
    outcome = split_or_name(splitter)
    assert isinstance(outcome, GroupSplit)
    spent = Ledger(open_store(tmp_path), "run").total()
    assert spent == pytest.approx(outcome.llm_cost_usd)


BATCHES: Mapping[str, Any] = {
    "HTML": "<html>",
    "an empty object": "{}",
    "a null id": '{"id": null, "processing_status": "in_progress"}',
    "an id that is a path": '{"id": "../../v1/files", "processing_status": "ended"}',
    "an unknown status": '{"id": "msgbatch_1", "processing_status": "dreaming"}',
    "a null status": '{"id": "msgbatch_1", "processing_status": null}',
}


@pytest.mark.parametrize("kind", ["batch_create", "batch_retrieve", "batch_list"])
@pytest.mark.parametrize("body", BATCHES.values(), ids=BATCHES)
def test_what_is_no_batch_is_named_and_no_second_one_is_created(
    server: RunningServer, tmp_path: Path, kind: str, body: str
) -> None:
    raw = {kind: {"body": body}}
    if kind == "batch_list":
        raw["batch_create"] = {"status": 500, "body": "{}", "times": 1}
    server.set(raw=raw)
    splitter = make_splitter(tmp_path, transport="batch", max_llm_usd=CAP_USD)
    assert isinstance(split_or_name(splitter), LlmError)
    assert num_requests(server, "batch_create") == 1
    assert num_requests(server, "batch_retrieve") <= 3
    check_books(tmp_path)


def test_a_batch_whose_results_are_nowhere_is_named(server: RunningServer, tmp_path: Path) -> None:
    ended = {"id": "msgbatch_1", "processing_status": "ended", "results_url": None}
    server.set(raw={"batch_retrieve": {"body": json.dumps(ended)}})
    error = split_or_name(make_splitter(tmp_path, transport="batch", max_llm_usd=CAP_USD))
    assert isinstance(error, LlmError) and "put the results" in str(error)


@pytest.mark.parametrize(
    "body",
    ["", "<html>", "{}", "[]", '{"input_tokens": 0}', '{"input_tokens": -5}']
    + ['{"input_tokens": "9"}', '{"input_tokens": NaN}', '{"input_tokens": 1e300}']
    + [f'{{"input_tokens": {10**30}}}', '{"input_tokens": null}', '{"input_tokens": true}'],
)
def test_a_count_that_counts_nothing_is_named(
    server: RunningServer, tmp_path: Path, body: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace.Pace, "back_off", lambda *_: None)
    server.set(raw={"count_tokens": {"body": body}})
    splitter = make_splitter(tmp_path, no_cap=True)
    with pytest.raises(LlmError, match="the API answered"):
        count_sample(splitter.session.api, splitter._config, sample_of([GROUP], 1))
    assert num_requests(server, "count_tokens") == 3


DAMAGE: Mapping[str, Any] = {
    "empty": lambda _: b"",
    "cut off": lambda data: data[:-30],
    "HTML": lambda _: b"<html>",
    "another object": lambda _: b"{}",
    "an array": lambda data: b"[" + data + b"]",
    "invalid UTF-8": lambda data: data.replace(b"fox", b"\xff\xfe"),
    "a negative cost": lambda data: data.replace(b'"cost_usd": ', b'"cost_usd": -500'),
    "an infinite cost": lambda data: data.replace(b'"cost_usd": 0', b'"cost_usd": 1e999'),
    "a cost that is NaN": lambda data: data.replace(b'"cost_usd": 0', b'"cost_usd": NaN, "x": 0'),
    "negative tokens": lambda data: data.replace(b'"output_tokens": ', b'"output_tokens": -'),
    "text that is null": lambda data: data.replace(b'"text": "', b'"text": null, "x": "'),
    "nested deeply": lambda _: b"[" * 10**5,
    "of another question": lambda data: data.replace(b'"attempt": 0', b'"attempt": 1'),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_stored_answer_that_is_damaged_is_named_and_not_believed(
    server: RunningServer, tmp_path: Path, damage: Any
) -> None:
    make_splitter(tmp_path, transport="online", no_cap=True).split([GROUP])
    (path,) = tmp_path.glob("answers/*/*.json")
    before = path.read_bytes()
    path.write_bytes(damage(before))
    assert path.read_bytes() != before
    with pytest.raises(StorageError, match="is damaged: delete it"):
        make_splitter(tmp_path, transport="online", no_cap=True).split([GROUP])
    assert num_requests(server, "messages") == 1


@pytest.mark.parametrize("data", [b"", b"[]", b'{"a": -500}', b'{"a": NaN}', b'{"a": "1"}'])
def test_a_damaged_ledger_is_named_and_raises_no_cap(
    server: RunningServer, tmp_path: Path, data: bytes
) -> None:
    open_store(tmp_path).write("spent/run.json", data)
    with pytest.raises(StorageError, match="is damaged, and with it what was spent"):
        make_splitter(tmp_path, transport="online", max_llm_usd=CAP_USD).split([GROUP])
    assert num_requests(server, "messages") == 0


@pytest.mark.parametrize("header", ["retry-after", "retry-after-ms"])
@pytest.mark.parametrize("value", RETRY_AFTER)
def test_a_wait_beyond_reason_is_clamped_and_said(
    server: RunningServer,
    tmp_path: Path,
    value: str,
    header: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(pace, "_MAX_ASKED_SECONDS", 0.3)
    reply = {"status": 429, "headers": [[header, value]], "body": "{}", "times": 1}
    server.set(raw={"messages": reply})
    splitter = make_splitter(tmp_path, transport="online", no_cap=True)
    with caplog.at_level(logging.WARNING):
        assert isinstance(split_or_name(splitter), GroupSplit)
    assert num_requests(server, "messages") == 2
    assert f"the API says {header}:" in caplog.text and "waiting 0." in caplog.text


def test_a_rate_limit_that_asks_for_no_pause_is_no_hot_loop(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "_MAX_STARVED_SECONDS", 1.5)
    headers = [["retry-after", "0"], ["retry-after", "86400"]]
    for number, sent in enumerate((headers[:1], headers)):
        server.reset()
        server.set(raw={"messages": {"status": 429, "headers": sent, "body": "{}"}})
        splitter = make_splitter(tmp_path, transport="online", no_cap=True)
        assert isinstance(split_or_name(splitter, make_group(number)), LlmError)
        assert 3 <= num_requests(server, "messages") <= 12


def test_an_answer_that_drips_is_cut_off_counted_as_paid_and_asked_for_three_times(
    server: RunningServer, tmp_path: Path
) -> None:
    server.set(raw={"messages": {"drip_seconds": 0.1, "body": " " * 500}})
    splitter = make_splitter(tmp_path, transport="online", max_llm_usd=CAP_USD)
    splitter.session.api._answer_seconds = 0.4
    error = split_or_name(splitter)
    assert isinstance(error, LlmError) and "ReadTimeout" in str(error)
    assert num_requests(server, "messages") == 3
    check_books(tmp_path, at_least=1e-9)


def test_what_a_hostile_answer_says_is_data(server: RunningServer, tmp_path: Path) -> None:
    body = json.dumps(PARTLY_WRONG["model markup"](make_message(GOOD))).encode()
    server.set(raw={"messages": as_body(body)})
    outcome = split_or_name(make_splitter(tmp_path, transport="online", no_cap=True))
    assert isinstance(outcome, GroupSplit)
    assert outcome.model == "claude-haiku-5-5"
