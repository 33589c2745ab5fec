"""A real S3 server process with a fault-injecting proxy before it, and stores on either."""

import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3

from coupled_core.storage.s3 import S3Store
from tests.faults.disturbances import READ_TIMEOUT_SECONDS
from tests.faults.proxy import FaultProxy
from tests.s3_servers import RunningServer, SeaweedServer, moto_server

SERVERS: dict[str, Callable[[Path], RunningServer]] = {
    "moto": moto_server,
    "seaweed": SeaweedServer,
}
"""Those that honour conditional writes: one in memory, one on a disk."""


@dataclass(frozen=True)
class DisturbedS3:
    """A bucket that can be reached directly and through a proxy."""

    proxy: FaultProxy
    bucket: str
    direct: dict[str, str]
    """Environment in which boto3 reaches the server itself."""

    @property
    def through_proxy(self) -> dict[str, str]:
        """Environment in which boto3 reaches it through the proxy."""
        return {**self.direct, "AWS_ENDPOINT_URL": self.proxy.endpoint}

    def new_uri(self) -> str:
        """Return the URI of a dataset that does not exist yet."""
        return f"s3://{self.bucket}/{uuid.uuid4().hex[:8]}"

    def open_disturbed(self, uri: str) -> S3Store:
        """Open a dataset through the proxy, with little patience; set the proxy's counter back."""
        self.proxy.reset()
        store = S3Store(uri, read_timeout_seconds=READ_TIMEOUT_SECONDS)
        os.environ["AWS_ENDPOINT_URL"] = self.proxy.endpoint
        try:
            store.exists("nothing")  # makes the client
        finally:
            os.environ["AWS_ENDPOINT_URL"] = self.direct["AWS_ENDPOINT_URL"]
        self.proxy.reset()
        return store


@contextmanager
def disturbed_s3(name: str = "moto") -> Iterator[DisturbedS3]:
    """Start a server and a proxy; while they run, boto3's environment names the server."""
    with (
        tempfile.TemporaryDirectory() as folder,
        SERVERS[name](Path(folder)) as server,
        FaultProxy(server.endpoint) as proxy,
    ):
        environment = server.environment
        before = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)
        try:
            boto3.session.Session().client("s3").create_bucket(Bucket="faults")
            yield DisturbedS3(proxy, "faults", environment)
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
