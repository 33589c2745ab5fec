"""What a language model, or whoever answers in its place, sends and what was stored of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coupled_core.config import DEFAULT_PRICES
from coupled_core.errors import StorageError
from coupled_core.llm.answers import AnswerCache, Asked, StoredAnswer
from coupled_core.llm.batch_record import _OPEN, BatchRegister
from coupled_core.llm.question import Bounds, RequestKey
from coupled_core.llm.reading import UnreadableError, parse_object
from coupled_core.records import Rejection
from coupled_core.splitting.llm.question import Answer
from coupled_core.splitting.llm.splitter import _judge
from coupled_core.storage.local import LocalStore
from tests.properties.search import changed, ends_in, json_bytes, search, values
from tests.unit.llm.hostile import make_message

PROMPTS = ("A red fox in a quiet garden", "An owl in a quiet garden")
PAIR = {"image_0": 0, "image_1": 1, "edit_instruction": "Make the red fox an owl.",
        "inverse_instruction": "Make the owl a red fox."}  # fmt: skip
SPLIT = {
    "shares_background": True,
    "background_prompt": "a quiet garden",
    "entity_prompts": ["a red fox", "an owl"],
    "pairs": [PAIR],
    "variation_kind": "entity_swap",
    "flagged": False,
    "flag_reason": "",
}
KEY = RequestKey(request_sha256="ab" * 32, attempt=0, subject_id="group")
ASKED = Asked("run", "online", "claude-haiku-5-5", "1")
BOUNDS = Bounds(max_input_tokens=4000, max_output_tokens=500)
PRICE = DEFAULT_PRICES["claude-haiku-5-5"]
_WORST_USD = (4000 * PRICE.input_usd + 500 * PRICE.output_usd) / 1e6


def _take(data: bytes) -> StoredAnswer:
    return StoredAnswer.of_message(KEY, ASKED, parse_object(data), BOUNDS, PRICE)


def _check(answer: StoredAnswer) -> None:
    """It can be stored and read, is paid within bounds, and comes to a verdict."""
    assert StoredAnswer.model_validate_json(answer.to_json()) == answer
    assert 0.0 <= answer.cost_usd <= _WORST_USD * 1.0001
    verdict = _judge(answer, PROMPTS, needs_instructions=True)
    assert isinstance(verdict, Answer | Rejection | list)


def test_the_answer_that_is_changed_below_is_a_good_one() -> None:
    answer = _take(json.dumps(make_message(json.dumps(SPLIT))).encode())
    assert isinstance(_judge(answer, PROMPTS, needs_instructions=True), Answer)


@search
@given(data=json_bytes(changed(make_message(json.dumps(SPLIT))) | values))
def test_a_message_is_kept_and_judged_or_named(data: bytes) -> None:
    ends_in(lambda: _check(_take(data)), UnreadableError)


@search
@given(text=json_bytes(changed(SPLIT) | values).map(lambda data: data.decode(errors="replace")))
def test_what_a_model_writes_is_a_split_or_named(text: str) -> None:
    _check(_take(json.dumps(make_message(text)).encode()))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    return LocalStore(tmp_path_factory.mktemp("answers"))


@pytest.fixture(scope="module")
def stored(store: LocalStore) -> dict[str, Any]:
    answer = _take(json.dumps(make_message(json.dumps(SPLIT))).encode())
    AnswerCache(store, "run").add(answer)
    found: dict[str, Any] = json.loads(answer.to_json())
    return found


@search
@given(data=st.data())
def test_a_stored_answer_is_read_or_named(
    store: LocalStore, stored: dict[str, Any], data: st.DataObject
) -> None:
    (path,) = Path(store.root).glob("answers/*/*.json")
    path.write_bytes(data.draw(json_bytes(changed(stored) | values)))

    def read() -> None:
        answer = AnswerCache(store, "run").read(KEY)
        assert answer is None or answer.cost_usd >= 0.0

    ends_in(read, StorageError)


ROW = {"request_sha256": "ab" * 32, "attempt": 0, "group_id": "group", "max_input_tokens": 9}
RECORD = {
    "account": "run",
    "purchase": "batch-1",
    "model": "claude-haiku-5-5",
    "is_refresh": False,
    "rows": [ROW],
    "written_at": "2026-11-26T00:00:00Z",
    "batch_id": "msgbatch_1",
}


@search
@given(data=json_bytes(changed(RECORD) | changed({**RECORD, "written_at": "2026-11-26T00:00:00"})))
def test_the_record_of_a_batch_is_read_or_named(store: LocalStore, data: bytes) -> None:
    store.write(f"{_OPEN}batch-1.json", data)

    def read() -> None:
        assert all(isinstance(batch.age_seconds, float) for batch in BatchRegister(store))

    ends_in(read, StorageError)
