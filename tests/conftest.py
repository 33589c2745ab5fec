"""Fixtures for the whole suite: real S3 servers on loopback."""

import os
import uuid
from collections.abc import Callable, Iterator

import boto3
import pytest

from tests import s3_servers
from tests.coupled_command import coupled, prefect_url, undisturbed  # noqa: F401
from tests.messages_server.fixture import messages_server, start_messages_server  # noqa: F401
from tests.optimize_command import optimised  # noqa: F401
from tests.s3_servers import S3Server


def pytest_configure() -> None:
    """Give each of the two workers, and what they start, one core; torch reads it when it loads."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server that honours conditional writes."""
    with s3_servers.moto_server(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server on a real disk that ignores conditional writes."""
    with s3_servers.rclone_server(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@pytest.fixture(scope="session")
def seaweed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server on a real disk that honours conditional writes."""
    with s3_servers.SeaweedServer(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture
def new_bucket(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Point boto3's usual chain to a server and return the URI of a fresh dataset there."""

    def create(server: S3Server, bucket: str | None = None) -> str:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            monkeypatch.delenv(name)
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        bucket = bucket or f"bucket-{uuid.uuid4().hex[:12]}"
        boto3.session.Session().client("s3").create_bucket(Bucket=bucket)
        return f"s3://{bucket}/datasets/pairs"

    return create
