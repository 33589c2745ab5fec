"""A loopback S3 store as they were before 2025: it does not know uploads in chunks (aws-chunked).

boto3 sends such uploads over TLS only. The store knows just what ours asks of it.
"""

import hashlib
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

REFUSAL = "Transferring payloads in multiple chunks using aws-chunked is not supported."


class Mood(StrEnum):
    """What the store makes of an upload in chunks, or of one in several requests."""

    REFUSES_CHUNKS = "answers 501 to chunks"
    KEEPS_FRAMING = "stores chunks with their framing"
    KEEPS_FRAMING_OF_PARTS = "stores chunks with their framing where they are parts of an upload"
    KNOWS_NO_PARTS = "answers 501 to uploads in several requests"


@contextmanager
def old_s3_store(mood: Mood, folder: Path) -> Iterator[tuple[str, Path]]:
    """Serve over TLS; yield the address and the certificate to trust."""
    certificate = _make_certificate(folder)
    server = _Store(("127.0.0.1", 0), _Handler)
    server.mood, server.objects, server.uploads = mood, {}, {}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}", certificate
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Store(ThreadingHTTPServer):
    daemon_threads = True
    mood: Mood
    objects: dict[str, bytes]
    uploads: dict[str, dict[int, bytes]]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent about connections that are closed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Store

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""

    def handle_expect_100(self) -> bool:
        self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    @property
    def _key(self) -> str:
        return unquote(urlsplit(self.path).path)

    @property
    def _query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query, keep_blank_values=True)

    def do_PUT(self) -> None:
        mood, is_part = self.server.mood, "uploadId" in self._query
        raw, content = self._read_body()
        if raw != content and mood is Mood.REFUSES_CHUNKS:
            self._refuse(501, "NotImplemented", REFUSAL)
            return
        keeps = mood is Mood.KEEPS_FRAMING or (is_part and mood is Mood.KEEPS_FRAMING_OF_PARTS)
        body, key = raw if keeps else content, self._key
        if is_part:
            number = int(self._query["partNumber"][0])
            self.server.uploads[self._query["uploadId"][0]][number] = body
        else:
            found = self.server.objects.get(key)
            wanted = self.headers.get("If-Match")
            is_new = self.headers.get("If-None-Match") == "*" and found is not None
            if is_new or (wanted and (found is None or _etag(found) != wanted)):
                self._refuse(412, "PreconditionFailed", "no")
                return
            self.server.objects[key] = body
        self._answer(200, b"", {"ETag": _etag(body)})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.server.mood is Mood.KNOWS_NO_PARTS:
            self._refuse(501, "NotImplemented", "Uploads in parts are not for us.")
        elif "uploads" in self._query:
            name = str(len(self.server.uploads))
            self.server.uploads[name] = {}
            self._answer(200, f"<R><UploadId>{name}</UploadId></R>".encode(), {})
        else:
            parts = self.server.uploads.pop(self._query["uploadId"][0])
            self.server.objects[self._key] = b"".join(parts[n] for n in sorted(parts))
            self._answer(200, b"<R><ETag>&quot;whole&quot;</ETag></R>", {})

    def do_GET(self) -> None:
        body = self.server.objects.get(self._key)
        if body is None:
            self._refuse(404, "NoSuchKey", "no such key")
            return
        headers = {"ETag": _etag(body), "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            self._answer(206, body[int(wanted[1]) : int(wanted[2]) + 1], headers)
        else:
            self._answer(200, body, headers)

    do_HEAD = do_GET  # noqa: N815

    def do_DELETE(self) -> None:
        self.server.objects.pop(self._key, None)
        self._answer(204, b"", {})

    def _read_body(self) -> tuple[bytes, bytes]:
        """Return a body as it comes, and without its framing as aws-chunked."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "aws-chunked" not in self.headers.get("Content-Encoding", ""):
            return body, body
        content, rest = b"", body
        while size := int(rest.partition(b"\r\n")[0], 16):
            rest = rest.partition(b"\r\n")[2]
            content, rest = content + rest[:size], rest[size + 2 :]
        return body, content

    def _refuse(self, status: int, code: str, message: str) -> None:
        text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
        self._answer(status, text.encode(), {"Content-Type": "application/xml"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body).hexdigest()}"'


def _make_certificate(folder: Path) -> Path:
    """Write a key and its certificate for 127.0.0.1, good for an hour, into one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1))
    builder = builder.not_valid_after(now + timedelta(hours=1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    path = folder / "certificate.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path
