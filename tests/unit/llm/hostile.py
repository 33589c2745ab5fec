"""Answers that no API should give, each as the bytes that come."""

import json
from collections.abc import Callable, Mapping
from typing import Any

Message = dict[str, Any]
USAGE = {"input_tokens": 900, "output_tokens": 60}


def make_message(text: str) -> Message:
    """Return a message of the API's that is as it should be."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-5-5",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "stop_details": None,
        "usage": dict(USAGE),
    }


def _with(name: str, value: Any) -> Callable[[Message], Message]:
    return lambda message: {**message, name: value}


def _without(name: str) -> Callable[[Message], Message]:
    return lambda message: {key: value for key, value in message.items() if key != name}


def _usage(**changes: Any) -> Callable[[Message], Message]:
    return _with("usage", {**USAGE, **changes})


DEEP = json.loads("[" * 300 + "]" * 300)
PARTLY_WRONG: Mapping[str, Callable[[Message], Message]] = {
    "usage null": _with("usage", None),
    "usage missing": _without("usage"),
    "usage a list": _with("usage", [1, 2]),
    "usage empty": _with("usage", {}),
    "tokens text": _usage(input_tokens="900"),
    "tokens negative": _usage(output_tokens=-1_000_000_000),
    "tokens negative input": _usage(input_tokens=-5),
    "tokens fractions": _usage(input_tokens=900.5),
    "tokens huge": _usage(output_tokens=10**15),
    "tokens beyond any bill": _usage(input_tokens=10**300),
    "tokens true": _usage(output_tokens=True),
    "tokens null": _usage(input_tokens=None),
    "cached tokens negative": _usage(cache_read_input_tokens=-900),
    "cached tokens text": _usage(cache_creation_input_tokens="many"),
    "content null": _with("content", None),
    "content missing": _without("content"),
    "content text": _with("content", "A fox."),
    "content an object": _with("content", {"type": "text", "text": "A fox."}),
    "content empty": _with("content", []),
    "blocks of unknown kinds": _with("content", [{"type": "hologram", "data": 5}]),
    "blocks that are none": _with("content", [None, 7, "text", []]),
    "blocks without text": _with("content", [{"type": "text"}]),
    "text a number": _with("content", [{"type": "text", "text": 5}]),
    "text half a character": _with("content", [{"type": "text", "text": "A \ud800 fox"}]),
    "text with NUL": _with("content", [{"type": "text", "text": "A \x00 fox"}]),
    "text no JSON": _with("content", [{"type": "text", "text": "Sure! Here you are:"}]),
    "text a deep list": _with("content", [{"type": "text", "text": "[" * 10**5}]),
    "text a huge number": _with("content", [{"type": "text", "text": "9" * 10**5}]),
    "text another object": _with("content", [{"type": "text", "text": '{"background_prompt": 1}'}]),
    "content deep": _with("content", DEEP),
    "id null": _with("id", None),
    "id a number": _with("id", 5),
    "id a path": _with("id", "../../etc/passwd\n"),
    "model null": _with("model", None),
    "model markup": _with("model", "<script>alert(1)</script>"),
    "model long": _with("model", "m" * 10**5),
    "stop_reason null": _with("stop_reason", None),
    "stop_reason a list": _with("stop_reason", ["end_turn"]),
    "stop_reason unknown": _with("stop_reason", "moonrise"),
    "stop_details text": _with("stop_details", "none of your business"),
    "refusal without details": lambda m: {**m, "stop_reason": "refusal", "stop_details": [1]},
    "broken off": _with("stop_reason", "max_tokens"),
    "role user": _with("role", "user"),
    "unknown fields": _with("surprise", DEEP),
}
"""Messages, thus paid for, with something wrong in them."""
NO_MESSAGE: Mapping[str, Callable[[Message], bytes]] = {
    "empty": lambda _: b"",
    "blank": lambda _: b"   \n",
    "HTML of a portal": lambda _: b"<html><body>Please log in</body></html>",
    "an empty object": lambda _: b"{}",
    "null": lambda _: b"null",
    "a number": lambda _: b"42",
    "text": lambda _: b'"message"',
    "an array": lambda message: json.dumps([message]).encode(),
    "cut off": lambda message: json.dumps(message).encode()[:-20],
    "invalid UTF-8": lambda message: json.dumps(message).encode().replace(b"fox", b"f\xffx"),
    "UTF-16": lambda message: json.dumps(message).encode("utf-16"),
    "a byte order mark": lambda message: b"\xef\xbb\xbf" + json.dumps(message).encode(),
    "two documents": lambda message: json.dumps(message).encode() * 2,
    "NaN tokens": lambda message: json.dumps(_usage(input_tokens=float("nan"))(message)).encode(),
    "infinite tokens": lambda m: json.dumps(_usage(output_tokens=float("inf"))(m)).encode(),
    "nested deeply": lambda _: b"[" * 10**5 + b"]" * 10**5,
    "nested objects": lambda _: b'{"type":' * 10**4,
    "usage twice": lambda m: json.dumps(m).encode()[:-1] + b', "usage": {"input_tokens": -1}}',
    "a number of 10,000 digits": lambda _: b'{"type": "message", "usage": ' + b"9" * 10**4 + b"}",
    "type missing": lambda message: json.dumps(_without("type")(message)).encode(),
    "an error of status 200": lambda _: b'{"type": "error", "error": {"type": "api_error"}}',
    "events": lambda _: b"event: message_start\ndata: {}\n\n",
    "a batch": lambda _: b'{"type": "message_batch", "id": "msgbatch_1"}',
}
"""What is no message at all; whether anything was paid nobody knows."""
ON_THE_WIRE: Mapping[str, Mapping[str, Any]] = {
    "gzip garbage": {"headers": [["content-encoding", "gzip"]], "body": "no gzip"},
    "unknown encoding": {"headers": [["content-encoding", "zip"]], "body": "PK"},
    "length too long": {"content_length": 10**6, "body": "{"},
    "length negative": {"content_length": -5, "body": "{}"},
    "length no number": {"content_length": "many", "body": "{}"},
    "100 MB": {"repeat": 100, "body": " " * 2**20},
    "a redirect to HTML": {"status": 302, "headers": [["location", "/login"]], "body": "<html>"},
    "a redirect in circles": {"status": 307, "headers": [["location", "/v1/messages"]]},
    "no content": {"status": 204, "body": ""},
    "a status of another protocol": {"status": 299, "body": "<html>"},
    "an error that is HTML": {"status": 502, "body": "<html>Bad gateway</html>"},
    "an error that is a list": {"status": 500, "body": "[1, 2]"},
    "an error whose error is a number": {"status": 500, "body": '{"error": 5}'},
    "an error nested deeply": {"status": 529, "body": "[" * 10**5},
    "an invalid request with no words": {"status": 400, "body": "null"},
    "an unknown status": {"status": 799, "body": "{}"},
    "a forbidden status in HTML": {"status": 403, "body": "<html>Forbidden by Zscaler"},
}
RETRY_AFTER = ("0", "-5", "nan", "inf", "-inf", "1e12", "86400", "soon", "", "9" * 400)
"""What a 429 may name besides sensible seconds and dates."""
