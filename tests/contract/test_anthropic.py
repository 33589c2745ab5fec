"""What we assume of the Anthropic SDK and API, with the real SDK over a real socket."""

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import anthropic
import pytest
from pydantic import BaseModel

from tests.messages_server.process import RunningServer

MODEL = "claude-haiku-4-5"
MEADOW = ("An eagle soars in a vibrant meadow.", "A red fox runs in a vibrant meadow.")
SYSTEM = "You split prompts. " * 400


class Edit(BaseModel):
    image_0: int
    image_1: int
    edit_instruction: str
    inverse_instruction: str


class Answer(BaseModel):
    background_prompt: str
    entity_prompts: list[str]
    edits: list[Edit]
    variation_kind: Literal["entity_swap", "pose", "position", "appearance"]
    flagged: bool
    flag_reason: str | None


def _request(prompts: Sequence[str], **changes: Any) -> dict[str, Any]:
    system = [{"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral"}}]
    turn = {"role": "user", "content": f"Split these.\n{json.dumps({'prompts': list(prompts)})}"}
    request = {"model": MODEL, "max_tokens": 2000, "system": system, "messages": [turn]}
    return {**request, **changes}


def _batch(rows: dict[str, Sequence[str]]) -> list[Any]:
    return [{"custom_id": name, "params": _request(prompts)} for name, prompts in rows.items()]


def _client(**changes: Any) -> anthropic.Anthropic:
    return anthropic.Anthropic(max_retries=0, **changes)


def _parse(prompts: Sequence[str], **changes: Any) -> Any:
    request = _request(prompts, **changes)
    with _client() as client:
        return client.messages.parse(**request, output_format=Answer)


def test_a_structured_answer_arrives_parsed_and_is_on_the_bill(
    messages_server: RunningServer,
) -> None:
    message = _parse(MEADOW)
    assert message.parsed_output == Answer(
        background_prompt="In a vibrant meadow.",
        entity_prompts=["An eagle soars.", "A red fox runs."],
        edits=[
            Edit(
                image_0=0,
                image_1=1,
                edit_instruction="Let it be that a red fox runs rather than that an eagle soars.",
                inverse_instruction=(
                    "Let it be that an eagle soars rather than that a red fox runs."
                ),
            )
        ],
        variation_kind="entity_swap",
        flagged=False,
        flag_reason=None,
    )
    assert message.stop_reason == "end_turn"
    counters = messages_server.counters()
    assert counters["paid"]["online"] == counters["paid"]["distinct_prompts"] == 1
    assert counters["tokens"]["online_output_tokens"] == message.usage.output_tokens > 10


def test_a_marked_system_prompt_is_written_once_and_read_from_then_on(
    messages_server: RunningServer,
) -> None:
    first, second = _parse(MEADOW).usage, _parse(MEADOW).usage
    assert first.cache_creation_input_tokens == second.cache_read_input_tokens > 1024
    assert first.cache_read_input_tokens == second.cache_creation_input_tokens == 0
    assert first.input_tokens == second.input_tokens < 500


def test_tokens_are_counted_as_they_are_billed(messages_server: RunningServer) -> None:
    request = _request(MEADOW, system=SYSTEM)
    with _client() as client:
        counted = client.messages.count_tokens(
            **{name: value for name, value in request.items() if name != "max_tokens"}
        )
        usage = client.messages.create(**request).usage
    assert counted.input_tokens == usage.input_tokens
    assert messages_server.counters()["paid"]["online"] == 1


@pytest.mark.parametrize(
    ("marker", "error"),
    [
        ("429=7", anthropic.RateLimitError),
        ("529", anthropic.APIStatusError),
        ("500", anthropic.InternalServerError),
        ("reset", anthropic.APIConnectionError),
        ("lost", anthropic.APIConnectionError),
    ],
)
def test_a_transient_fault_is_raised_once_and_gone_with_the_next_try(
    messages_server: RunningServer, marker: str, error: type[Exception]
) -> None:
    prompts = (f"{MEADOW[0]} [[{marker}]]", MEADOW[1])
    with pytest.raises(error) as caught:
        _parse(prompts)
    if isinstance(caught.value, anthropic.RateLimitError):
        assert caught.value.response.headers["retry-after"] == "7"
    assert _parse(prompts).parsed_output.entity_prompts[0] == "An eagle soars."
    assert messages_server.counters()["paid"]["max_by_prompts"] == (2 if marker == "lost" else 1)


def test_the_sdk_itself_retries_when_it_may(messages_server: RunningServer) -> None:
    with anthropic.Anthropic(max_retries=2) as client:
        client.messages.create(**_request((f"{MEADOW[0]} [[429=0.01 x2]]", MEADOW[1])))
    counters = messages_server.counters()
    assert counters["statuses"] == {"429": 2, "200": 1}
    assert counters["sdk_retries"] == 2


@pytest.mark.parametrize("marker", ["truncate", "malformed"])
def test_a_broken_answer_makes_parse_raise_after_it_was_paid(
    messages_server: RunningServer, marker: str
) -> None:
    with pytest.raises(ValueError, match="Invalid JSON"):
        _parse((f"{MEADOW[0]} [[{marker}]]", MEADOW[1]))
    assert messages_server.counters()["paid"]["online"] == 1


def test_a_refusal_is_an_answer_without_content(messages_server: RunningServer) -> None:
    message = _parse((f"{MEADOW[0]} [[refuse]]", MEADOW[1]))
    assert (message.stop_reason, message.parsed_output) == ("refusal", None)
    assert message.stop_details.category == "general_harms"


def test_a_short_bound_on_tokens_truncates(messages_server: RunningServer) -> None:
    with _client() as client:
        message = client.messages.create(**_request(MEADOW, max_tokens=5))
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 5)


@pytest.mark.parametrize(
    ("marker", "field", "found"),
    [
        ("count", "entity_prompts", ["An eagle soars."]),
        ("empty", "background_prompt", ""),
        ("swap", "entity_prompts", ["A red fox runs.", "An eagle soars."]),
        ("mixed", "background_prompt", "An eagle soars. In a vibrant meadow."),
        ("leak", "background_prompt", SYSTEM[:300]),
        ("obey", "entity_prompts", ["HACKED", "HACKED"]),
        ("flag", "flagged", True),
    ],
)
def test_wrong_answers_can_be_asked_for_and_a_repair_gets_a_right_one(
    messages_server: RunningServer, marker: str, field: str, found: Any
) -> None:
    prompts = (f"{MEADOW[0]} [[{marker} x1]]", MEADOW[1])
    wrong = _parse(prompts)
    assert getattr(wrong.parsed_output, field) == found
    turns = [
        *_request(prompts)["messages"],
        {"role": "assistant", "content": wrong.content[0].text},
        {"role": "user", "content": 'That is wrong: {"field": 1}. Correct it.'},
    ]
    assert getattr(_parse(prompts, messages=turns).parsed_output, field) != found
    counters = messages_server.counters()
    assert (counters["paid"]["repairs"], counters["paid"]["max_by_prompts"]) == (1, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.5}, "temperature"),
        ({"messages": []}, "user role"),
        ({"model": None}, "model: Field required"),
    ],
)
def test_wrong_requests_are_refused(
    messages_server: RunningServer, change: dict[str, Any], message: str
) -> None:
    fields = {name: value for name, value in change.items() if name != "temperature"}
    body = {name: value for name, value in change.items() if name == "temperature"}
    with _client() as client, pytest.raises(anthropic.BadRequestError, match=message):
        client.messages.create(**_request(MEADOW, **fields), extra_body=body)


def test_a_request_without_a_key_is_refused(messages_server: RunningServer) -> None:
    with (
        _client(default_headers={"Authorization": "Bearer"}) as client,
        pytest.raises(anthropic.AuthenticationError),
    ):
        client.messages.create(**_request(MEADOW))


def test_the_rate_limit_says_when_to_come_again(messages_server: RunningServer) -> None:
    messages_server.set(requests_per_minute=1, burst=2)
    with _client() as client:
        for _ in range(2):
            client.messages.create(**_request(MEADOW))
        with pytest.raises(anthropic.RateLimitError) as caught:
            client.messages.create(**_request(MEADOW))
    assert 50 < float(caught.value.response.headers["retry-after"]) <= 60


def test_requests_in_flight_are_counted(messages_server: RunningServer) -> None:
    messages_server.set(answer_seconds=0.3)
    with _client() as client, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: client.messages.create(**_request(MEADOW)), range(4)))
    assert messages_server.counters()["max_in_flight"] == 4


def test_faults_drawn_by_share_are_the_same_in_each_run(messages_server: RunningServer) -> None:
    seen = []
    for _ in range(2):
        messages_server.reset()
        messages_server.set(shares={"529": 0.5})
        with _client() as client:
            statuses = [
                _status(lambda n=n: client.messages.create(**_request((f"A {n}", "B"))))
                for n in range(20)
            ]
        seen.append(statuses)
    assert seen[0] == seen[1]
    assert 0 < seen[0].count(529) < 20


def _status(call: Callable[[], Any]) -> int:
    try:
        call()
    except anthropic.APIStatusError as error:
        return error.status_code
    return 200


def test_a_batch_comes_back_out_of_order_with_each_row_on_its_own(
    messages_server: RunningServer,
) -> None:
    rows: dict[str, Sequence[str]] = {
        f"row-{n}": (f"{MEADOW[0]} {n}", MEADOW[1]) for n in range(20)
    }
    for n, marker in enumerate(("error", "invalid", "expire", "cancel", "refuse")):
        rows[f"row-{n}"] = (f"{MEADOW[0]} {n} [[{marker}]]", MEADOW[1])
    with _client() as client:
        batch = client.messages.batches.create(requests=_batch(rows))
        assert batch.request_counts.processing == 20
        batch = client.messages.batches.retrieve(batch.id)
        results = list(client.messages.batches.results(batch.id))
    assert batch.processing_status == "ended"
    assert batch.request_counts.succeeded == 16
    assert sorted(r.custom_id for r in results) == sorted(rows)
    assert [r.custom_id for r in results] != list(rows)
    kinds = Counter(r.result.type for r in results)
    assert kinds == {"succeeded": 16, "errored": 2, "expired": 1, "canceled": 1}
    assert messages_server.counters()["paid"]["batch"] == 16
    by_id = messages_server.paid()["by_custom_id"]
    assert set(by_id.values()) == {1}
    assert "row-2" not in by_id


def test_a_batch_takes_its_time_and_is_unknown_at_first(messages_server: RunningServer) -> None:
    messages_server.set(batch_seconds=600, batch_not_found=1)
    with _client() as client:
        batch = client.messages.batches.create(requests=_batch({"a": MEADOW}))
        with pytest.raises(anthropic.NotFoundError):
            client.messages.batches.retrieve(batch.id)
        assert client.messages.batches.retrieve(batch.id).processing_status == "in_progress"
        with pytest.raises(anthropic.AnthropicError, match="results_url"):
            client.messages.batches.results(batch.id)


def test_a_canceled_batch_ends_without_answers(messages_server: RunningServer) -> None:
    messages_server.set(batch_seconds=600)
    with _client() as client:
        batch = client.messages.batches.create(requests=_batch({"a": MEADOW, "b": MEADOW}))
        assert client.messages.batches.cancel(batch.id).processing_status == "canceling"
        assert client.messages.batches.retrieve(batch.id).request_counts.canceled == 2
    assert messages_server.counters()["paid"]["batch"] == 0


def test_a_batch_can_expire_as_a_whole(messages_server: RunningServer) -> None:
    messages_server.set(expired_batches=1)
    with _client() as client:
        for expected in ("expired", "succeeded"):
            batch = client.messages.batches.create(requests=_batch({"a": MEADOW}))
            assert client.messages.batches.retrieve(batch.id).processing_status == "ended"
            (row,) = client.messages.batches.results(batch.id)
            assert row.result.type == expected


def test_a_batch_whose_creation_was_not_confirmed_exists_and_is_paid_for(
    messages_server: RunningServer,
) -> None:
    messages_server.set(lost_creates=1)
    with _client() as client:
        with pytest.raises(anthropic.APIConnectionError):
            client.messages.batches.create(requests=_batch({"a": MEADOW}))
        assert messages_server.counters()["paid"]["batch"] == 1
        (lost,) = client.messages.batches.list()
        (row,) = client.messages.batches.results(lost.id)
    assert row.custom_id == "a"


def test_batches_are_listed_newest_first_in_pages(messages_server: RunningServer) -> None:
    with _client() as client:
        created = [
            client.messages.batches.create(requests=_batch({"a": MEADOW})).id for _ in range(5)
        ]
        listed = [batch.id for batch in client.messages.batches.list(limit=2)]
        assert listed == created[::-1]
        before = client.messages.batches.list(before_id=created[0], limit=2).data
        assert [batch.id for batch in before] == [created[2], created[1]]
        client.messages.batches.delete(created[0])
        with pytest.raises(anthropic.NotFoundError):
            client.messages.batches.retrieve(created[0])
    assert messages_server.counters()["requests"]["batch_list"] == 4


@pytest.mark.parametrize("name", ["a b", "", "x" * 65])
def test_a_custom_id_that_the_api_would_not_take_is_refused(
    messages_server: RunningServer, name: str
) -> None:
    with _client() as client, pytest.raises(anthropic.BadRequestError, match="custom_id"):
        client.messages.batches.create(requests=_batch({name: MEADOW}))


def test_what_the_server_prints_is_all_the_sdk_needs(messages_server: RunningServer) -> None:
    assert os.environ["ANTHROPIC_BASE_URL"] == messages_server.base_url
    assert {n for n in os.environ if n.startswith("ANTHROPIC_")} == set(messages_server.environment)
