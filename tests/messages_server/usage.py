"""Token counts and the usage block of an answer."""

import json
import threading
from collections.abc import Mapping
from typing import Any

from tests.messages_server.answers import text_of

_CHARS_A_TOKEN = 4
_MIN_CACHED_TOKENS = 1024


def count_tokens(text: str) -> int:
    """Return a plausible token count: a quarter of the ASCII characters, every other one whole."""
    wide = sum(ord(char) > 0x2FF for char in text)
    return -(-(len(text) - wide) // _CHARS_A_TOKEN) + wide


def count_input(request: Mapping[str, Any]) -> int:
    """Return the input tokens of a request, its output schema included."""
    return _count_system(request) + _count_rest(request)


def _count_system(request: Mapping[str, Any]) -> int:
    return count_tokens(text_of(request.get("system")))


def _count_rest(request: Mapping[str, Any]) -> int:
    turns = sum(count_tokens(text_of(turn["content"])) + 4 for turn in request["messages"])
    config = request.get("output_config")
    return turns + (count_tokens(json.dumps(config)) if config else 0)


class PromptCache:
    """Remembers which system prompts were marked for caching and seen before."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def measure(self, request: Mapping[str, Any], answer: str, tier: str) -> dict[str, Any]:
        """Return the usage block of an answered request."""
        cached = self._cached_tokens(request)
        read, written = self._read_or_write(request, cached)
        return {
            "input_tokens": count_input(request) - cached,
            "output_tokens": max(count_tokens(answer), 1),
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": read,
            "service_tier": tier,
        }

    def _cached_tokens(self, request: Mapping[str, Any]) -> int:
        system = request.get("system")
        is_marked = isinstance(system, list) and any("cache_control" in block for block in system)
        tokens = _count_system(request) if is_marked else 0
        return tokens if tokens >= _MIN_CACHED_TOKENS else 0

    def _read_or_write(self, request: Mapping[str, Any], tokens: int) -> tuple[int, int]:
        if not tokens:
            return 0, 0
        key = f"{request['model']}:{text_of(request['system'])}"
        with self._lock:
            is_known = key in self._seen
            self._seen.add(key)
        return (tokens, 0) if is_known else (0, tokens)
