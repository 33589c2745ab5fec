"""An HTTP proxy between a client and a real S3 server that fails on purpose, where it is told."""

import http.client
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

SILENCE_SECONDS = 6.0
"""Longer than the read timeout of the clients in these tests."""


class Fault(StrEnum):
    """What goes wrong with one request."""

    INTERNAL_ERROR = "500, not executed"
    SLOW_DOWN = "503 SlowDown, not executed"
    ERROR_AFTER = "500, executed"
    TIMEOUT = "no answer, not executed"
    LATE = "no answer in time, executed"
    RESET_BEFORE = "connection reset, not executed"
    RESET_MID_UPLOAD = "connection reset in mid-upload"
    LOST_RESPONSE = "executed, response lost"
    TRUNCATED = "response truncated"
    WRONG_ETAG = "wrong ETag"
    SLOW_READ = "response in drops"
    EXPIRED = "400 ExpiredToken, not executed"
    SKEWED = "403 RequestTimeTooSkewed, not executed"
    KILL_BEFORE = "client killed, not executed"
    KILL_AFTER = "client killed, executed"


KILLS = (Fault.KILL_BEFORE, Fault.KILL_AFTER)
REFUSALS = (Fault.EXPIRED, Fault.SKEWED, Fault.SLOW_DOWN)
"""What a server that answers says from one moment on to everything."""
NETWORK = tuple(f for f in Fault if f not in (*KILLS, Fault.EXPIRED, Fault.SKEWED))
_REFUSED_WITH = {
    Fault.INTERNAL_ERROR: (500, "InternalError"),
    Fault.SLOW_DOWN: (503, "SlowDown"),
    Fault.EXPIRED: (400, "ExpiredToken"),
    Fault.SKEWED: (403, "RequestTimeTooSkewed"),
}


@dataclass(frozen=True)
class Request:
    """One request as it comes in."""

    index: int
    """From 0, over all requests since the proxy's counter was set back."""
    method: str
    path: str
    """With the query."""


Script = Callable[[Request], Fault | None]
"""Decides about each request; None: it goes through."""


def fault_at(index: int, fault: Fault) -> Script:
    """Return a script that fails one request, once."""
    return lambda request: fault if request.index == index else None


def no_fault(_request: Request) -> Fault | None:
    """Let everything through."""
    return None


def fail_from(index: int, fault: Fault) -> Script:
    """Return a script that fails a request and all that follow it."""
    return lambda request: fault if request.index >= index else None


@dataclass
class FaultProxy:
    """Listens on loopback while its `with` is open, and passes everything on to one server."""

    upstream: str
    """URL of the server."""
    script: Script = no_fault
    kill_client: Callable[[], None] = lambda: None
    """Carries out the kills."""
    requests: list[Request] = field(default_factory=list)
    """Since the counter was set back."""
    num_injected: int = 0
    """Faults since the proxy was started."""

    def __enter__(self) -> "FaultProxy":
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        """The URL that clients are given."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def reset(self, script: Script = no_fault) -> None:
        """Begin to count requests anew, under another script."""
        with self._lock:
            self.script, self.requests = script, []

    def admit(self, method: str, path: str) -> Fault | None:
        """Number a request and decide about it."""
        with self._lock:
            request = Request(len(self.requests), method, path)
            self.requests.append(request)
            fault = self.script(request)
            self.num_injected += fault is not None
            return fault


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    proxy: FaultProxy

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: clients that are killed or reset leave broken connections by design."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def handle_expect_100(self) -> bool:
        """Ask for the body at once, as S3 does."""
        self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _handle(self) -> None:
        fault = self.server.proxy.admit(self.command, self.path)
        if fault is Fault.RESET_MID_UPLOAD:
            self.rfile.read(int(self.headers.get("Content-Length", 0)) // 2)
            self._reset()
            return
        body = self._read_body()
        if self._refuses(fault):
            return
        self._answer(self._forward(body), fault)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _handle  # noqa: N815

    def _refuses(self, fault: Fault | None) -> bool:
        """Do what a fault asks for before the server hears of the request."""
        if fault is Fault.RESET_BEFORE:
            self._reset()
        elif fault is Fault.KILL_BEFORE:
            self.server.proxy.kill_client()
            self._reset()
        elif fault is Fault.TIMEOUT:
            time.sleep(SILENCE_SECONDS)
            self._reset()
        elif fault in _REFUSED_WITH:
            self._send_error(*_REFUSED_WITH[fault])
        else:
            return False
        return True

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(chunks)

    def _forward(self, body: bytes) -> "_Answer":
        host = urlsplit(self.server.proxy.upstream).netloc
        connection = http.client.HTTPConnection(host, timeout=60)
        skipped = {"connection", "expect", "transfer-encoding", "content-length"}
        headers = {k: v for k, v in self.headers.items() if k.lower() not in skipped}
        try:
            headers |= {"Content-Length": str(len(body)), "Connection": "close"}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            return _Answer(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()

    def _answer(self, answer: "_Answer", fault: Fault | None) -> None:
        if fault is Fault.ERROR_AFTER:
            self._send_error(500, "InternalError")
        elif fault is Fault.LOST_RESPONSE:
            self._reset()
        elif fault is Fault.KILL_AFTER:
            self.server.proxy.kill_client()
            self._reset()
        elif fault is Fault.LATE:
            time.sleep(SILENCE_SECONDS)
            self._reset()
        else:
            self._send(answer, fault)

    def _send(self, answer: "_Answer", fault: Fault | None) -> None:
        self.send_response_only(answer.status)
        has_body = self.command != "HEAD" and answer.status not in (204, 304)
        for name, value in answer.headers:
            if name.lower() in ("connection", "transfer-encoding"):
                continue
            if name.lower() == "content-length" and has_body:
                continue
            is_wrong = fault is Fault.WRONG_ETAG and name.lower() == "etag"
            self.send_header(name, f'"{"0" * 32}"' if is_wrong else value)
        if has_body:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if has_body:
            self._send_body(answer.body, fault)
        if fault is Fault.TRUNCATED:
            self._reset()

    def _send_body(self, body: bytes, fault: Fault | None) -> None:
        if fault is Fault.TRUNCATED:
            self.wfile.write(body[: len(body) // 2])
        elif fault is Fault.SLOW_READ:
            step = max(1, len(body) // 8)
            for start in range(0, len(body), step):
                self.wfile.write(body[start : start + step])
                self.wfile.flush()
                time.sleep(0.05)
        else:
            self.wfile.write(body)

    def _send_error(self, status: int, code: str) -> None:
        body = f"<Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
        self._send(_Answer(status, [("Content-Type", "application/xml")], body), None)

    def _reset(self) -> None:
        """Close with RST instead of FIN: the peer sees "connection reset by peer"."""
        self.close_connection = True
        self.wfile.flush()
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        os.close(self.connection.detach())


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes
