"""What we assume of the Anthropic SDK, shown with the real one over a real socket."""

import time
import traceback
from collections.abc import Callable

import anthropic
import pytest
from pydantic import ValidationError

from coupled_core.config import SplitConfig
from coupled_core.llm.client import Api, ApiError
from coupled_core.llm.question import Question
from coupled_core.splitting.llm.question import Answer, build_question
from tests.messages_server.fixture import messages_server, start_messages_server  # noqa: F401
from tests.messages_server.process import RunningServer
from tests.messages_server.settings import API_KEY
from tests.unit.splitting.llm.groups import make_group


def question(marker: str = "") -> Question:
    return build_question(SplitConfig(), make_group(0, marker))


def test_our_client_repeats_nothing_by_itself(messages_server: RunningServer) -> None:  # noqa: F811
    for marker in ("[[429]]", "[[500]]", "[[reset]]"):
        with pytest.raises(ApiError):
            Api().answer(question(marker))
    counters = messages_server.counters()
    assert (counters["requests"], counters["sdk_retries"]) == ({"messages": 3}, 0)


def test_the_schema_goes_out_and_usage_comes_back(messages_server: RunningServer) -> None:  # noqa: F811
    message = Api().answer(question())
    Answer.model_validate_json(message["content"][0]["text"])
    tokens = messages_server.counters()["tokens"]
    assert message["usage"]["input_tokens"] == tokens["online_input_tokens"]
    assert message["usage"]["output_tokens"] == tokens["online_output_tokens"]


def test_parse_would_lose_the_bill_of_an_answer_that_is_not_json(
    messages_server: RunningServer,  # noqa: F811
) -> None:
    """Why we send the schema with `create` and parse what comes back ourselves."""
    params = {**question("[[malformed]]").params}
    del params["output_config"]
    with pytest.raises(ValidationError):
        Api().sdk.messages.parse(**params, output_format=Answer)
    assert messages_server.counters()["paid"]["online"] == 1


def test_a_lost_answer_is_told_from_a_connection_that_never_was(
    messages_server: RunningServer,  # noqa: F811
) -> None:
    with pytest.raises(ApiError) as lost:
        Api().answer(question("[[lost]]"))
    messages_server.stop()
    with pytest.raises(ApiError) as unsent:
        Api().answer(question())
    assert lost.value.may_have_arrived
    assert not unsent.value.may_have_arrived


def test_an_error_carries_the_key_and_our_words_for_it_do_not(
    messages_server: RunningServer,  # noqa: F811
) -> None:
    with pytest.raises(anthropic.InternalServerError) as theirs:
        Api().sdk.messages.create(**question("[[500]]").params)
    assert theirs.value.request.headers["authorization"] == f"Bearer {API_KEY}"
    with pytest.raises(ApiError, match="500: Internal server error") as ours:
        Api().answer(question("[[500 x2]]"))
    assert API_KEY not in "".join(traceback.format_exception(ours.value))
    assert ours.value.__context__ is ours.value.__cause__ is None


def test_rows_of_a_batch_may_have_names_of_64_digits(messages_server: RunningServer) -> None:  # noqa: F811
    asked, api = question(), Api()
    batch_id = api.create_batch([asked])
    api.look_up_batch(batch_id)
    (line,) = filter(None, api.iter_results(batch_id, 1e6))
    assert f'"custom_id": "{asked.key.custom_id}"'.encode() in line
    assert len(asked.key.custom_id) == 64


@pytest.mark.parametrize("drip", [{"drip_headers": True}, {"body": "{" + " " * 200}])
def test_who_sends_a_byte_from_time_to_time_is_cut_off_by_the_clock(
    start_messages_server: Callable[..., RunningServer],  # noqa: F811
    drip: dict[str, object],
) -> None:
    """The libraries bound the wait for the next byte only; our limit hangs on a private name."""
    start_messages_server(raw={"messages": {"drip_seconds": 0.05, **drip}})
    begun = time.monotonic()
    with pytest.raises(ApiError, match=r"ReadTimeout") as caught:
        Api(answer_seconds=0.6).answer(question())
    assert 0.5 < time.monotonic() - begun < 3.0
    assert caught.value.may_have_arrived
