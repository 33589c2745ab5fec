"""Answers byte by byte, for what no API would send: gateways, portals, damage, malice."""

import base64
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, BinaryIO


class RawReplies:
    """What goes out in the place of answers, by kind of request: `Settings.raw`.

    `{"messages": {"status": 200, "headers": [["retry-after", "0"]], "body": "...", "times": 2}}`;
    `body_base64` for bytes, `repeat` for large ones, `content_length` for a wrong one,
    `drip_seconds` to send it byte by byte, `drip_headers` to begin with the headers.
    """

    def __init__(self) -> None:
        self._sent: Counter[str] = Counter()

    def take(self, kind: str, raw: Mapping[str, Mapping[str, Any]]) -> Mapping[str, Any] | None:
        """Return what to send; None: the real answer."""
        reply = raw.get(kind)
        if reply is None or self._sent[kind] >= reply.get("times", 1 << 30):
            return None
        self._sent[kind] += 1
        return reply


def send_raw(wire: BinaryIO, reply: Mapping[str, Any]) -> None:
    """Write a response; the connection is of no use afterwards."""
    encoded = reply.get("body_base64")
    body = base64.b64decode(encoded) if encoded else reply.get("body", "").encode()
    repeat = reply.get("repeat", 1)
    headers = [["content-type", "application/json"], *reply.get("headers", [])]
    headers.append(["content-length", reply.get("content_length", len(body) * repeat)])
    lines = [f"HTTP/1.1 {reply.get('status', 200)} Raw", *(f"{n}: {v}" for n, v in headers)]
    head = "\r\n".join([*lines, "connection: close", "", ""]).encode("latin-1")
    drip_seconds = reply.get("drip_seconds", 0.0)
    for part, is_slow in ((head, reply.get("drip_headers", False)), (body, drip_seconds > 0)):
        if is_slow:
            for at in range(len(part)):
                wire.write(part[at : at + 1])
                wire.flush()
                time.sleep(drip_seconds)
        else:
            for _ in range(1 if part is head else repeat):
                wire.write(part)
    wire.flush()
