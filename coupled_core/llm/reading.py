"""What the API sent, read as data: nothing of it is believed before it is looked at.

A gateway, a proxy or a captive portal may answer in the API's place, and the API may be wrong. What
is no answer at all is an `UnreadableError`. An answer that is wrong in places is read as far as it
goes, with a note of what is wrong: it is paid for, so it is kept.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from coupled_core.documents import read_json
from coupled_core.llm.question import Bounds
from coupled_core.redaction import redact

_NAME = re.compile(r"[\w.:@/-]{1,200}", re.ASCII)
"""Names of models, messages and reasons to stop; they end up in records and manifests."""
_MAX_WORDS_CHARS = 300
_MAX_QUOTED_CHARS = 20_000
"""So much of a text is looked at where a line of it is shown."""
_CACHED = ("cache_creation_input_tokens", "cache_read_input_tokens")
"""All input is counted in full: no prompt caching is asked for."""


class UnreadableError(Exception):
    """What came is no document of the API's; the text says what it is instead."""


def quote(text: str) -> str:
    """Return a model's or an API's words fit to be shown: one line, printable, not long.

    The API may repeat what we sent, so keys are taken out.
    """
    # Redacted before it is cut, or half a key could remain.
    clean = redact(text[:_MAX_QUOTED_CHARS])
    plain = " ".join("".join(char if char.isprintable() else " " for char in clean).split())
    return plain if len(plain) <= _MAX_WORDS_CHARS else plain[: _MAX_WORDS_CHARS - 1] + "…"


def parse_object(data: bytes) -> dict[str, Any]:
    """Return a JSON object in which every name stands once and every number is finite.

    Raises:
        UnreadableError: it is none.
    """
    try:
        value = read_json(data.decode())
    except ValueError as error:
        shown = data[:200].decode(errors="replace")
        raise UnreadableError(quote(f"no JSON ({error}): {shown!r}")) from None
    if not isinstance(value, dict):
        raise UnreadableError(f"a JSON {type(value).__name__}, expected an object")
    return value


@dataclass
class Message:
    """What an answer says."""

    model: str
    text: str = ""
    stop_reason: str = "unknown"
    stop_details: str = ""
    message_id: str | None = None
    tokens: tuple[int, int] | None = None
    """Input and output, both within the bounds of the question; None: not to be believed."""
    problems: list[str] = field(default_factory=list)
    """What is wrong with it, in words."""


def read_message(document: object, model: str, bounds: Bounds) -> Message:
    """Read an answer of the Messages API.

    Args:
        document: JSON as it came.
        bounds: The most that the answer can have been billed for.

    Raises:
        UnreadableError: it is something else.
    """
    if not isinstance(document, Mapping) or document.get("type") != "message":
        raise UnreadableError(quote(f"no message: {_show(document)}"))
    message = Message(model)
    named = {"model": document.get("model"), "id": document.get("id")}
    named["stop_reason"] = document.get("stop_reason")
    for name, value in named.items():
        if isinstance(value, str) and _NAME.fullmatch(value):
            setattr(message, "message_id" if name == "id" else name, value)
        else:
            message.problems.append(quote(f"{name} is {_show(value)}"))
    message.text = _read_text(document.get("content"), message.problems)
    message.stop_details = _read_details(document.get("stop_details"))
    message.tokens = _read_usage(document.get("usage"), bounds, message.problems)
    return message


def _read_text(content: object, problems: list[str]) -> str:
    """Join the blocks of text; blocks of other kinds, such as thoughts, are passed over."""
    if not isinstance(content, list):
        problems.append(quote(f"content is {_show(content)}, expected a list"))
        return ""
    blocks = [block for block in content if isinstance(block, Mapping)]
    texts = [block.get("text") for block in blocks if block.get("type") == "text"]
    found = [text for text in texts if isinstance(text, str)]
    if len(blocks) < len(content) or len(found) < len(texts):
        problems.append("content has blocks that are none")
    # JSON can say half of a character, which no file can hold.
    return "".join(found).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _show(value: object) -> str:
    try:
        return json.dumps(value)[:150]
    except RecursionError:
        return "nested too deeply"


def _read_details(details: object) -> str:
    if not isinstance(details, Mapping):
        return ""
    return quote(f"{details.get('category')}: {details.get('explanation')}")


def _read_usage(usage: object, bounds: Bounds, problems: list[str]) -> tuple[int, int] | None:
    """Return the tokens on the bill, unless they are none or more than can be."""
    found: Mapping[str, Any] = usage if isinstance(usage, Mapping) else {}
    cached = (found.get(name) or 0 for name in _CACHED)
    counts = [found.get("output_tokens"), found.get("input_tokens"), *cached]
    # `True` is an integer for Python, and none on a bill.
    whole = [count for count in counts if type(count) is int and count >= 0]
    if len(whole) == len(counts):
        tokens = sum(whole[1:]), whole[0]
        if tokens[0] <= bounds.max_input_tokens and tokens[1] <= bounds.max_output_tokens:
            return tokens
    problems.append(quote(f"usage is {_show(usage)}: counted at the worst case"))
    return None
