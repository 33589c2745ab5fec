"""The Messages API over HTTP, on threads of the standard library: resets need the raw socket."""

import json
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from tests.messages_server.api_errors import ApiError, ConnectionLostError
from tests.messages_server.batches import Batches
from tests.messages_server.counters import Counters
from tests.messages_server.messages import Model, RateLimit, check_request
from tests.messages_server.raw import RawReplies, send_raw
from tests.messages_server.settings import Settings
from tests.messages_server.usage import count_input

_MAX_BYTES = {"messages": 32 << 20, "batch_create": 256 << 20}
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of zero seconds: close() sends RST


class MessagesServer(ThreadingHTTPServer):
    """One API with its batches, counters and script."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, port: int, settings: Settings) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.settings = settings
        self.reset()

    @property
    def base_url(self) -> str:
        """What ANTHROPIC_BASE_URL should be."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def reset(self) -> None:
        """Forget batches, counters and which faults were shown."""
        self.counters = Counters()
        self.model = Model(self.counters)
        self.batches = Batches(self.model, self.counters)
        self.rate_limit = RateLimit()
        self.raw_replies = RawReplies()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent about clients that went away: tests kill them."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: MessagesServer

    _ROUTES: ClassVar[Mapping[tuple[str, str], str]] = {
        ("POST", "v1/messages"): "messages",
        ("POST", "v1/messages/count_tokens"): "count_tokens",
        ("POST", "v1/messages/batches"): "batch_create",
        ("GET", "v1/messages/batches"): "batch_list",
        ("GET", "v1/messages/batches/*"): "batch_retrieve",
        ("DELETE", "v1/messages/batches/*"): "batch_delete",
        ("GET", "v1/messages/batches/*/results"): "batch_results",
        ("POST", "v1/messages/batches/*/cancel"): "batch_cancel",
        ("GET", "_counters"): "_counters",
        ("GET", "_paid"): "_paid",
        ("GET", "_settings"): "_settings",
        ("POST", "_settings"): "_settings",
        ("POST", "_reset"): "_reset",
    }

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing a request."""

    def _serve(self) -> None:
        url = urlsplit(self.path)
        parts = url.path.strip("/").split("/")
        batch_id = parts[3] if len(parts) > 3 else ""
        pattern = "/".join([*parts[:3], "*", *parts[4:]] if batch_id else parts)
        kind = self._ROUTES.get((self.command, pattern), "unknown")
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if kind.startswith("_"):
            self._send(200, self._control(kind, body))
            return
        is_retry = self.headers.get("x-stainless-retry-count", "0") != "0"
        with self.server.counters.request(kind, is_retry=is_retry):
            self._reply(kind, batch_id, body, dict(parse_qsl(url.query)))

    def _reply(self, kind: str, batch_id: str, body: bytes, query: Mapping[str, str]) -> None:
        counters = self.server.counters
        raw = self.server.raw_replies.take(kind, self.server.settings.raw)
        if raw is not None:
            counters.status("raw")
            self.close_connection = True
            send_raw(self.wfile, raw)
            return
        try:
            self._check(kind, body)
            result = self._route(kind, batch_id, body, query)
        except ConnectionLostError:
            counters.status("reset")
            self._reset_connection()
        except ApiError as error:
            counters.status(error.status)
            self._send(error.status, error.body, error.headers)
        else:
            counters.status(200)
            self._send(200, result)

    def _check(self, kind: str, body: bytes) -> None:
        if kind == "unknown":
            raise ApiError(404, f"{self.command} {self.path}: not found")
        token = self.headers.get("authorization", "").removeprefix("Bearer").strip()
        if not (self.headers.get("x-api-key") or token):
            raise ApiError(401, "invalid x-api-key")
        if not self.headers.get("anthropic-version"):
            raise ApiError(400, "anthropic-version: header is required")
        if len(body) > _MAX_BYTES.get(kind, 32 << 20):
            raise ApiError(413, f"request of {len(body)} bytes is too large")

    def _route(self, kind: str, batch_id: str, body: bytes, query: Mapping[str, str]) -> Any:
        server, settings = self.server, self.server.settings
        base, batches = server.base_url, server.batches
        routes: dict[str, Callable[[], Any]] = {
            "messages": lambda: self._answer(_parse(body)),
            "count_tokens": lambda: _count(_parse(body)),
            "batch_create": lambda: batches.create(_parse(body), settings, base),
            "batch_list": lambda: batches.page(query, settings, base),
            "batch_retrieve": lambda: batches.retrieve(batch_id, settings, base),
            "batch_delete": lambda: batches.delete(batch_id),
            "batch_results": lambda: batches.results(batch_id),
            "batch_cancel": lambda: batches.cancel(batch_id, settings, base),
        }
        return routes[kind]()

    def _answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.server.rate_limit.take(self.server.settings)
        return self.server.model.answer_online(request, self.server.settings)

    def _control(self, kind: str, body: bytes) -> dict[str, Any]:
        server = self.server
        if kind == "_reset":
            server.reset()
        elif kind == "_settings":
            server.settings = server.settings.updated(_parse(body) if body else {})
            return vars(server.settings)
        server.batches.end_due(server.settings)
        return server.counters.paid_requests() if kind == "_paid" else server.counters.snapshot()

    def _send(self, status: int, result: Any, headers: Mapping[str, str] | None = None) -> None:
        is_rows = isinstance(result, Iterator)
        lines = (json.dumps(row) + "\n" for row in (result if is_rows else [result]))
        data = "".join(lines).encode()
        self.send_response(status)
        self.send_header("content-type", "application/x-jsonl" if is_rows else "application/json")
        self.send_header("content-length", str(len(data)))
        self.send_header("request-id", "req_loopback")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def _reset_connection(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.connection.close()
        self.close_connection = True


def _parse(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError as error:
        raise ApiError(400, "the body is not JSON") from error
    if not isinstance(value, dict):
        raise ApiError(400, "the body is not a JSON object")
    return value


def _count(request: Mapping[str, Any]) -> dict[str, int]:
    check_request({"max_tokens": 1, **request})
    return {"input_tokens": count_input(request)}
