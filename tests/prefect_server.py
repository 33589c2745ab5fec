"""A Prefect server with all of its services, a work pool and a worker, each a real process."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

ROOT = Path(__file__).parent.parent
_CALM = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class PrefectServer:
    """A running server."""

    url: str
    folder: Path
    """Its home, with its database, and the logs of what runs here."""
    process: subprocess.Popen[bytes] | None = None
    """The server's, or its parent."""

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables of its workers."""
        ours = {"PREFECT_API_URL": self.url, "PREFECT_HOME": str(self.folder)}
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
        return {**inherited, **_CALM, **ours, "PYTHONPATH": str(ROOT)}

    @contextmanager
    def client(self) -> Iterator[SyncPrefectClient]:
        """Yield a client; everything of Prefect inside talks to this server."""
        with temporary_settings({PREFECT_API_URL: self.url}), get_client(sync_client=True) as made:
            yield made

    @contextmanager
    def worker(self, pool: str, limit: int = 1) -> Iterator[subprocess.Popen[bytes]]:
        """Let a worker run what the pool has, until the `with` is left; yield its process."""
        command = ["worker", "start", "--pool", pool, "--type", "process", "--limit", str(limit)]
        environment = {**self.environment, "PREFECT_WORKER_QUERY_SECONDS": "1"}
        with _running(command, environment, self.folder / "worker.log") as process:
            yield process


@contextmanager
def prefect_server(
    folder: Path, database_url: str | None = None, port: int | None = None
) -> Iterator[PrefectServer]:
    """Start a server whose scheduler looks once a second.

    Args:
        folder: As in `PrefectServer`.
        database_url: Of a Postgres, such as postgresql+asyncpg://...; None: SQLite in the folder.
        port: None: a free one.

    Raises:
        TimeoutError: it does not answer within two minutes.
    """
    port = port or free_port()
    server = PrefectServer(f"http://127.0.0.1:{port}/api", folder)
    services = {
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "1",
        "PREFECT_SERVER_SERVICES_SCHEDULER_DEPLOYMENT_BATCH_SIZE": "10",
    }
    if database_url is not None:
        services["PREFECT_API_DATABASE_CONNECTION_URL"] = database_url
    command = ["server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    environment = {**server.environment, **services}
    with _running(command, environment, folder / "server.log") as process:
        _wait_for(f"{server.url}/health", 120.0)
        yield replace(server, process=process)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def _running(
    command: list[str], environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    with (
        log.open("a") as output,
        subprocess.Popen(
            [sys.executable, "-P", "-m", "prefect", *command],
            env=dict(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for(url: str, timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise TimeoutError(f"{url} did not answer within {timeout_seconds:.0f} s")
