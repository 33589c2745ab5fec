"""A server that was named is asked whom it lets in before anything depends on it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from coupled_core.errors import ConfigError, CoupledError
from flows.cli.prefect_environment import ServerUnavailableError, read_api_url, require_server


@contextmanager
def _answering(status: int, body: bytes = b"{}") -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/api"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (401, b"{}", ConfigError, "does not let us in.*PREFECT_API_AUTH_STRING"),
        (403, b"{}", ConfigError, "does not let us in.*PREFECT_API_KEY"),
        (404, b"{}", ServerUnavailableError, "no Prefect API"),
        (200, b"<html>please log in</html>", ServerUnavailableError, "no Prefect server answers"),
    ],
)
def test_what_answers_in_place_of_a_server_that_lets_us_in_is_named(
    status: int, body: bytes, error: type[CoupledError], words: str
) -> None:
    with (
        _answering(status, body) as url,
        temporary_settings({PREFECT_API_URL: url}),
        pytest.raises(error, match=words),
    ):
        require_server()


@pytest.mark.parametrize(
    "url", ["prefect", "ftp://host/api", "http://", "http://host:99999/api", "http://a:b@host/api"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with (
        temporary_settings({PREFECT_API_URL: url}),
        pytest.raises(ConfigError, match="PREFECT_API_URL"),
    ):
        read_api_url()
