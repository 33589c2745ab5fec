"""A real S3 server process with a fault-injecting proxy before it, and stores on either."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import boto3

from coupled_core.storage.s3 import S3Store
from tests.faults.disturbances import READ_TIMEOUT_SECONDS
from tests.faults.proxy import FaultProxy


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
def disturbed_s3() -> Iterator[DisturbedS3]:
    """Start a server and a proxy; while they run, boto3's environment names the server."""
    with _moto() as endpoint, FaultProxy(endpoint) as proxy:
        environment = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "AKIALOOPBACKTEST0001",
            "AWS_SECRET_ACCESS_KEY": "loopback/only/0123456789/not/a/credential",
            "AWS_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
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


@contextmanager
def _moto() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as process:
        try:
            _wait_for(endpoint, process)
            yield endpoint
        finally:
            process.terminate()


def _wait_for(endpoint: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(endpoint, timeout=2):
                return
        except urllib.error.HTTPError as refused:  # any answer at all will do
            refused.close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"no S3 server at {endpoint}")
