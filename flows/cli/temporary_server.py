"""A Prefect server for the length of one command, when PREFECT_API_URL names none.

Prefect can start one by itself. Ours differs in three points that matter at a terminal: Ctrl-C does
not reach it, so the flow can still report that it stopped; it ends when its parent does, even by
SIGKILL; its database is its own, so two builds on one machine never wait for each other's locks.
"""

import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from coupled_core.storage.scratch import scratch_folder
from flows.cli.failures import ServerUnavailableError
from flows.cli.loopback import keep_loopback_direct

if TYPE_CHECKING:
    import uvicorn


_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_UNUSED_SERVICES = (
    "CANCELLATION_CLEANUP",
    "CLEANUP_RECONCILER",
    "FOREMAN",
    "LATE_RUNS",
    "PAUSE_EXPIRATIONS",
    "REPOSSESSOR",
    "SCHEDULER",
    "TRIGGERS",
)


@contextmanager
def temporary_server(startup_timeout_seconds: float) -> Iterator[str]:
    """Start a server, yield the URL of its API when it answers, and stop it.

    Raises:
        ServerUnavailableError: it ended, or did not answer in time.
    """
    process = start_server()
    try:
        yield wait_for_server(process, startup_timeout_seconds)
    finally:
        stop_server(process)


def start_server() -> "subprocess.Popen[bytes]":
    """Start the server and return at once; it needs some ten seconds until it answers."""
    keep_loopback_direct()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment |= {f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in _UNUSED_SERVICES}
    environment |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli.temporary_server"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a Ctrl-C at the terminal goes to the session's foreground group
    )


def wait_for_server(process: "subprocess.Popen[bytes]", timeout_seconds: float) -> str:
    """Return the URL of the API as soon as it answers."""
    deadline = time.monotonic() + timeout_seconds
    assert process.stdout is not None
    port = process.stdout.readline().decode().strip()
    url = f"http://127.0.0.1:{port}/api"
    while process.poll() is None and time.monotonic() < deadline:
        if port and _answers(f"{url}/health"):
            return url
        time.sleep(0.1)
    how = "did not answer" if process.poll() is None else f"ended with code {process.returncode}"
    raise ServerUnavailableError(
        f"the temporary Prefect server {how} within {timeout_seconds:.0f} s: start one with "
        "`prefect server start` and set PREFECT_API_URL"
    )


def stop_server(process: "subprocess.Popen[bytes]") -> None:
    """End the server and wait until it has removed its files."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()  # what it would see if this process had died
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def serve_until_parent_ends() -> None:
    """Serve on a free port, told on stdout, until standard input closes with the parent."""
    with scratch_folder("prefect") as home:
        os.environ["PREFECT_HOME"] = str(home)
        _serve()


def _serve() -> None:
    import uvicorn

    config = uvicorn.Config(
        "prefect.server.api.server:create_app",
        factory=True,
        host="127.0.0.1",
        port=0,
        log_level="error",
        lifespan="on",
    )
    listener = config.bind_socket()
    print(listener.getsockname()[1], flush=True)
    server = uvicorn.Server(config)
    threading.Thread(target=_end_with_parent, args=(server,), daemon=True).start()
    server.run(sockets=[listener])


def _end_with_parent(server: "uvicorn.Server") -> None:
    sys.stdin.buffer.read()
    server.should_exit = True


def _answers(url: str) -> bool:
    try:
        with _DIRECT.open(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    serve_until_parent_ends()
