"""POST /v1/messages and what a batch does with each of its rows."""

import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any

from tests.messages_server.answers import find_data, prompts_of, write_answer
from tests.messages_server.api_errors import ApiError, ConnectionLostError
from tests.messages_server.counters import Counters
from tests.messages_server.faults import ANSWER_FAULTS, HTTP_FAULTS, Fault, FaultScript, prompts_key
from tests.messages_server.settings import Settings
from tests.messages_server.usage import PromptCache, count_tokens

_REMOVED = ("temperature", "top_p", "top_k")
_RETRY_AFTER_SECONDS = 0.05


class Model:
    """Answers requests, and counts what the answers would have cost."""

    def __init__(self, counters: Counters) -> None:
        self.script = FaultScript()
        self._cache = PromptCache()
        self._counters = counters

    def answer_online(self, request: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
        """Return the message that answers a request.

        Raises:
            ApiError: the request is wrong, or the script wants an error.
            ConnectionLostError: the script wants a reset.
        """
        check_request(request)
        faults = self.find_faults(request, settings, HTTP_FAULTS | ANSWER_FAULTS)
        _raise_http_fault(faults)
        time.sleep(settings.answer_seconds + faults.get("slow", Fault("slow")).amount)
        message = self.answer(request, faults, "online")
        if "lost" in faults:
            raise ConnectionLostError
        return message

    def find_faults(
        self, request: Mapping[str, Any], settings: Settings, allowed: frozenset[str]
    ) -> dict[str, Fault]:
        """Return the faults that this request shows."""
        data = find_data(request)
        prompts = prompts_of(data) if data else []
        faults = self.script.next_faults(prompts, settings, allowed)
        self._counters.faults(faults)
        return faults

    def answer(
        self,
        request: Mapping[str, Any],
        faults: Mapping[str, Any],
        kind: str,
        custom_id: str | None = None,
    ) -> dict[str, Any]:
        """Write the message, and put it on the bill."""
        data = find_data(request)
        if data is None:
            text, key = "There are no prompts in this request.", "none"
        else:
            text, key = write_answer(request, data, list(faults)), prompts_key(prompts_of(data))
        text, stop_reason = _stop(text, request["max_tokens"], faults)
        tier = "batch" if kind == "batch" else "standard"
        usage = self._cache.measure(request, text, tier)
        is_repair = any(turn["role"] == "assistant" for turn in request["messages"])
        self._counters.paid(kind, key, usage, custom_id, repair=is_repair)
        return _message(request["model"], text, stop_reason, usage)


def check_request(request: Mapping[str, Any]) -> None:
    """Refuse what the API refuses.

    Raises:
        ApiError: with status 400.
    """
    for name, kind in (("model", str), ("max_tokens", int), ("messages", list)):
        if not isinstance(request.get(name), kind):
            raise ApiError(400, f"{name}: Field required")
    for name in _REMOVED:
        if name in request:
            raise ApiError(400, f"{name}: this model does not take it")
    if not request["messages"] or request["messages"][0].get("role") != "user":
        raise ApiError(400, "messages: first message must use the user role")
    if request["messages"][-1]["role"] != "user":
        raise ApiError(400, "messages: this model does not support prefill")
    if request["max_tokens"] < 1:
        raise ApiError(400, "max_tokens: must be at least 1")


class RateLimit:
    """A token bucket over POST /v1/messages."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens: float | None = None
        self._filled_at = 0.0

    def take(self, settings: Settings) -> None:
        """Count a request.

        Raises:
            ApiError: 429 with the seconds until the next request may come.
        """
        rate = settings.requests_per_minute / 60
        if rate <= 0:
            return
        with self._lock:
            now = time.monotonic()
            before = float(settings.burst) if self._tokens is None else self._tokens
            filled = min(settings.burst, before + (now - self._filled_at) * rate)
            self._filled_at = now
            self._tokens = filled - 1 if filled >= 1 else filled
        if filled < 1:
            wait = (1 - filled) / rate
            raise ApiError(429, "rate limit of requests", {"retry-after": f"{wait:.3f}"})


def _raise_http_fault(faults: Mapping[str, Fault]) -> None:
    if "reset" in faults:
        raise ConnectionLostError
    if "429" in faults:
        seconds = faults["429"].amount or _RETRY_AFTER_SECONDS
        raise ApiError(429, "scripted rate limit", {"retry-after": f"{seconds:g}"})
    if "529" in faults:
        raise ApiError(529, "Overloaded")
    if "500" in faults:
        raise ApiError(500, "Internal server error")


def _stop(text: str, max_tokens: int, faults: Mapping[str, Any]) -> tuple[str, str]:
    if "refuse" in faults:
        return "", "refusal"
    if "truncate" in faults:
        return text[: len(text) * 2 // 3], "max_tokens"
    if count_tokens(text) > max_tokens:
        return text[: max_tokens * 4], "max_tokens"
    return text, "end_turn"


def _message(model: str, text: str, stop_reason: str, usage: Mapping[str, Any]) -> dict[str, Any]:
    refused = {"type": "refusal", "category": "general_harms", "explanation": "scripted refusal"}
    return {
        "id": f"msg_{uuid.uuid4().hex[:24]}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": text}] if text else [],
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "stop_details": refused if stop_reason == "refusal" else None,
        "usage": dict(usage),
    }
