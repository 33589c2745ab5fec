"""A Prefect server for the length of one command, when PREFECT_API_URL names none.

Prefect can start one by itself. Ours differs in three points that matter at a terminal: Ctrl-C does
not reach it, so the flow can still report that it stopped; it ends when its parent does, even by
SIGKILL; its database is its own, so two builds on one machine never wait for each other's locks.
"""

import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO

from coupled_core.storage.scratch import scratch_folder
from flows.cli.loopback import keep_loopback_direct
from flows.cli.prefect_environment import ServerUnavailableError, read_api_url, require_server
from flows.cli.terminal import ExitCode, Terminal

_STARTUP_TIMEOUT = "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"
_DEFAULT_TIMEOUT_SECONDS = 180.0  # ten are usual; two busy cores have been seen to take thirty
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks without any proxy that the environment names."""
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
# The server looks for modules where this process does. Without -P Python would look in the current
# folder first, where a user may keep a `flows/` or a `uvicorn.py`.
_OUR_ROOT = str(Path(__file__).parents[2])
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[1:]; "
    "from flows.cli.temporary_server import serve_until_parent_ends as serve; serve()"
)


@dataclass(frozen=True)
class ServerProcess:
    """A server that is starting or running."""

    process: "subprocess.Popen[bytes]"
    errors: IO[bytes]
    """What it has written to standard error."""


@contextmanager
def flow_session(terminal: Terminal, flow_module: str, kept: str) -> Iterator[None]:
    """Run a flow inside, with its progress shown; after Ctrl-C say what is kept and exit with 130.

    Raises:
        ServerUnavailableError: the temporary server does not start.
    """
    try:
        with _prefect_session(flow_module), terminal.progress():
            yield
    except KeyboardInterrupt as error:
        terminal.complain(f"interrupted: {kept}; run the same command again to go on")
        raise SystemExit(ExitCode.INTERRUPTED) from error


@contextmanager
def _prefect_session(flow_module: str) -> Iterator[None]:
    """Use the configured server, or a temporary one; import the flow while that starts.

    Raises:
        ConfigError: Prefect's settings are wrong, or the server does not let us in.
        ServerUnavailableError: no server answers.
    """
    if read_api_url() is not None:
        require_server()
        yield
        return
    from prefect import settings

    timeout_seconds = float(os.environ.get(_STARTUP_TIMEOUT, _DEFAULT_TIMEOUT_SECONDS))
    with temporary_server(timeout_seconds, flow_module) as url:
        ours = {
            settings.PREFECT_API_URL: url,
            settings.PREFECT_LOGGING_TO_API_ENABLED: False,  # gone with the server
            settings.PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,  # nobody watches; a second a flow
        }
        inherited = {"PREFECT_API_URL": url, "PREFECT_LOGGING_TO_API_ENABLED": "false"}
        with settings.temporary_settings(ours), _everywhere(inherited):
            yield


@contextmanager
def _everywhere(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for threads and worker processes, too.

    They do not know what holds in this context, and without an address each of Prefect's own
    threads would start another server.
    """
    from prefect.context import refresh_global_settings_context

    before = {name: os.environ[name] for name in variables if name in os.environ}
    os.environ.update(variables)
    refresh_global_settings_context()
    try:
        yield
    finally:
        for name in variables:  # all others stay: threads may be reading them
            os.environ.pop(name, None)
        os.environ.update(before)
        refresh_global_settings_context()


@contextmanager
def temporary_server(
    startup_timeout_seconds: float, flow_module: str | None = None
) -> Iterator[str]:
    """Start a server, yield the URL of its API when it answers, and stop it.

    Raises:
        ServerUnavailableError: it ended, or did not answer in time.
    """
    # Server and flow import for seconds each; both do so at the same time.
    server = start_server()
    try:
        if flow_module is not None:
            import_module(flow_module)
        yield wait_for_server(server, startup_timeout_seconds)
    finally:
        stop_server(server)


def start_server() -> ServerProcess:
    """Start the server and return at once; it needs some ten seconds until it answers."""
    keep_loopback_direct()
    # A user's Prefect settings are about another server: a database named there is not this
    # one's.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment |= {f"PREFECT_SERVER_SERVICES_{name}_ENABLED": "false" for name in _UNUSED_SERVICES}
    environment |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - `stop_server` closes it
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM, *filter(None, sys.path), _OUR_ROOT],
        env=environment,
        # never written to: it closes when this process ends, however it ends
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,  # brings the port
        stderr=errors,
        start_new_session=True,  # a Ctrl-C at the terminal goes to the session's foreground group
    )
    return ServerProcess(process, errors)


def wait_for_server(server: ServerProcess, timeout_seconds: float) -> str:
    """Return the URL of the API as soon as it answers.

    Raises:
        ServerUnavailableError: it ended, or did not answer in time; with its last words.
    """
    process, deadline = server.process, time.monotonic() + timeout_seconds
    assert process.stdout is not None
    # Waits for the line, which is written at once, or for the end of a process that died before it.
    has_come, _, _ = select.select([process.stdout], [], [], timeout_seconds)
    port = process.stdout.readline().decode().strip() if has_come else ""
    url = f"http://127.0.0.1:{port}/api"
    while process.poll() is None and time.monotonic() < deadline:
        if port and _answers(f"{url}/health"):
            return url
        time.sleep(0.1)
    how = "did not answer" if process.poll() is None else f"ended with code {process.returncode}"
    server.errors.seek(0)
    last = server.errors.read().decode(errors="replace").strip().rpartition("\n")[2]
    raise ServerUnavailableError(
        f"the temporary Prefect server {how} within {timeout_seconds:.0f} s"
        f"{f' ({last})' if last else ''}: start one with `prefect server start` and set "
        "PREFECT_API_URL"
    )


def stop_server(server: ServerProcess) -> None:
    """End the server and wait until it has removed its files."""
    process = server.process
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()  # what it would see if this process had died
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
    server.errors.close()


def serve_until_parent_ends() -> None:
    """Serve on a free port, told on stdout, until standard input closes with the parent."""
    with scratch_folder("prefect") as home:
        threading.Thread(target=_end_with_parent, args=(home,), daemon=True).start()
        os.environ["PREFECT_HOME"] = str(home)
        _serve()


def _end_with_parent(home: Path) -> None:
    """End at once, in mid-import or not: in good order Prefect takes seconds, for nobody."""
    sys.stdin.buffer.read()
    while home.exists():  # the server may still be writing into it
        shutil.rmtree(home, ignore_errors=True)
    os._exit(0)


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
    # Bound here, so that the port is known, and kept, before the application is imported.
    listener = config.bind_socket()
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(config).run(sockets=[listener])


def _answers(url: str) -> bool:
    try:
        with _DIRECT.open(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
