"""Fixtures for the whole suite: real S3 servers on loopback."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest

from tests.coupled_command import coupled, prefect_url, undisturbed  # noqa: F401
from tests.messages_server.fixture import messages_server, start_messages_server  # noqa: F401
from tests.optimize_command import optimised  # noqa: F401


def pytest_configure() -> None:
    """Give each of the two workers, and what they start, one core; torch reads it when it loads."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@dataclass(frozen=True)
class S3Server:
    """A server process of our own; the keys are made up."""

    endpoint: str
    key_id: str = "AKIALOOPBACKTEST0001"
    secret: str = "loopback/only/0123456789/not/a/credential"


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server that honours conditional writes."""
    port = _free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = S3Server(f"http://127.0.0.1:{port}")
    with _Running(command, server, tmp_path_factory.mktemp("moto") / "log"):
        yield server


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server on a real disk that ignores conditional writes."""
    port = _free_port()
    server = S3Server(f"http://127.0.0.1:{port}")
    binary = shutil.which("rclone", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")
    assert binary, "rclone is missing: install the test extra"
    folder = tmp_path_factory.mktemp("rclone")
    (folder / "disk").mkdir()
    command = [binary, "serve", "s3", "--config", os.devnull, "--addr", f"127.0.0.1:{port}"]
    command += ["--auth-key", f"{server.key_id},{server.secret}", str(folder / "disk")]
    with _Running(command, server, folder / "log"):
        yield server


@pytest.fixture
def new_bucket(monkeypatch: pytest.MonkeyPatch) -> Callable[[S3Server], str]:
    """Point boto3's usual chain to a server and return the URI of a fresh dataset there."""

    def create(server: S3Server) -> str:
        for name in (
            "AWS_PROFILE",
            "AWS_SESSION_TOKEN",
            "AWS_DEFAULT_REGION",
            "AWS_DEFAULT_PROFILE",
        ):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.key_id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret)
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        bucket = f"bucket-{uuid.uuid4().hex[:12]}"
        boto3.session.Session().client("s3").create_bucket(Bucket=bucket)
        return f"s3://{bucket}/datasets/pairs"

    return create


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class _Running:
    """A server process: started, waited for, and ended again."""

    def __init__(self, command: list[str], server: S3Server, log: Path) -> None:
        self._command, self._server, self._log = command, server, log

    def __enter__(self) -> None:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + 300
        while not _answers(self._server.endpoint):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                pytest.fail(f"{self._command[0]} did not start: {self._log.read_text()[-2000:]}")
            time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _answers(endpoint: str) -> bool:
    try:
        with urllib.request.urlopen(endpoint, timeout=2):
            return True
    except urllib.error.HTTPError as refused:  # any answer at all will do
        refused.close()
        return True
    except OSError:
        return False
