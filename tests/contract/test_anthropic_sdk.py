"""What we assume of the Anthropic SDK, shown with the real one over a real socket."""

import anthropic
import pytest
from pydantic import ValidationError

from coupled_core.config import SplitConfig
from coupled_core.splitting.llm.client import describe, may_have_arrived, open_client
from coupled_core.splitting.llm.request import Answer, LlmRequest, build_request
from tests.messages_server.fixture import messages_server, start_messages_server  # noqa: F401
from tests.messages_server.process import RunningServer
from tests.messages_server.settings import API_KEY
from tests.unit.splitting.llm.groups import make_group


def request(marker: str = "") -> LlmRequest:
    return build_request(SplitConfig(), make_group(0, marker))


def test_our_client_repeats_nothing_by_itself(messages_server: RunningServer) -> None:  # noqa: F811
    for marker in ("[[429]]", "[[500]]", "[[reset]]"):
        with pytest.raises(anthropic.APIError):
            open_client().messages.create(**request(marker).params)
    counters = messages_server.counters()
    assert (counters["requests"], counters["sdk_retries"]) == ({"messages": 3}, 0)


def test_the_schema_goes_out_and_usage_comes_back(messages_server: RunningServer) -> None:  # noqa: F811
    message = open_client().messages.create(**request().params)
    assert message.content[0].type == "text"
    Answer.model_validate_json(message.content[0].text)
    tokens = messages_server.counters()["tokens"]
    assert message.usage.input_tokens == tokens["online_input_tokens"]
    assert message.usage.output_tokens == tokens["online_output_tokens"]


def test_parse_would_lose_the_bill_of_an_answer_that_is_not_json(
    messages_server: RunningServer,  # noqa: F811
) -> None:
    """Why we send the schema with `create` and parse what comes back ourselves."""
    params = {**request("[[malformed]]").params}
    del params["output_config"]
    with pytest.raises(ValidationError):
        open_client().messages.parse(**params, output_format=Answer)
    assert messages_server.counters()["paid"]["online"] == 1


def test_a_lost_answer_is_told_from_a_connection_that_never_was(
    messages_server: RunningServer,  # noqa: F811
) -> None:
    with pytest.raises(anthropic.APIConnectionError) as lost:
        open_client().messages.create(**request("[[lost]]").params)
    messages_server.stop()
    with pytest.raises(anthropic.APIConnectionError) as unsent:
        open_client().messages.create(**request().params)
    assert may_have_arrived(lost.value)
    assert not may_have_arrived(unsent.value)


def test_an_error_carries_the_key_and_our_words_for_it_do_not(
    messages_server: RunningServer,  # noqa: F811
) -> None:
    with pytest.raises(anthropic.InternalServerError) as caught:
        open_client().messages.create(**request("[[500]]").params)
    assert caught.value.request.headers["authorization"] == f"Bearer {API_KEY}"
    assert describe(caught.value) == "500: Internal server error"


def test_rows_of_a_batch_may_have_names_of_64_digits(messages_server: RunningServer) -> None:  # noqa: F811
    asked = request()
    rows = [{"custom_id": asked.key.custom_id, "params": asked.params}]
    batch = open_client().messages.batches.create(requests=rows)  # type: ignore[arg-type]
    open_client().messages.batches.retrieve(batch.id)
    results = list(open_client().messages.batches.results(batch.id))
    assert [result.custom_id for result in results] == [asked.key.custom_id]
    assert len(asked.key.custom_id) == 64
