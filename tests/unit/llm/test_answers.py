"""Records of answers outlive the code that wrote them."""

from pathlib import Path

from coupled_core.llm.answers import AnswerCache, StoredAnswer
from coupled_core.storage.local import LocalStore

RECORD = """{
 "request_sha256": "991de471eac214f1033a10f8d15e355f49cf4b264c2da924f1eaf2d911ed9159",
 "attempt": 0,
 "group_id": "group-4",
 "account": "run",
 "transport": "batch",
 "model": "claude-haiku-5-5",
 "instruction_version": "2",
 "stop_reason": null,
 "stop_details": "",
 "text": "",
 "input_tokens": 0,
 "output_tokens": 0,
 "cost_usd": 0.0,
 "message_id": null,
 "error": "scripted invalid request",
 "created_at": "2026-11-26T10:40:24.735271Z"
}"""
"""Written before this layer had a folder of its own."""


def test_a_record_of_old_is_read_and_written_as_it_always_was(tmp_path: Path) -> None:
    answer = StoredAnswer.model_validate_json(RECORD)
    assert answer.subject_id == "group-4"
    assert answer.to_json().decode() == RECORD
    cache = AnswerCache(LocalStore(tmp_path), "run")
    cache.add(answer)
    assert cache.read(answer) == answer
    (path,) = tmp_path.glob("answers/99/*.json")
    assert path.read_text() == RECORD
