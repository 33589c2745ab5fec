"""Real S3 servers, each a process of its own on loopback with a disk of its own."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

START_TIMEOUT_SECONDS = 300
KEY_ID, SECRET = "AKIALOOPBACKTEST0001", "loopback/only/0123456789/not/a/credential"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks without a proxy, whatever the environment names."""


@dataclass(frozen=True)
class S3Server:
    """Where a server listens; the keys are made up."""

    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        """What boto3 reads to reach it, and to look nowhere else."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


class RunningServer:
    """A server process: started, waited for, killed and started again as often as one likes."""

    def __init__(self, command: list[str], port: int, folder: Path) -> None:
        """Take a command that serves on a port, and a folder for its log."""
        self.server = S3Server(f"http://127.0.0.1:{port}")
        self._command, self._log = command, folder / "log"

    def __enter__(self) -> S3Server:
        self.start()
        return self.server

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGTERM)

    def start(self) -> None:
        """Start it and return when it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not _answers(self.server.endpoint):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop(signal.SIGKILL)
                raise RuntimeError(
                    f"{self._command[0]} did not start: {self._log.read_text()[-2000:]}"
                )
            time.sleep(0.1)

    def stop(self, how: signal.Signals) -> None:
        """End it, and wait until it has ended."""
        self._process.send_signal(how)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def moto_server(folder: Path) -> RunningServer:
    """Return a server in memory that honours conditional writes."""
    port = _free_ports(1)[0]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    return RunningServer(command, port, folder)


def rclone_server(folder: Path) -> RunningServer:
    """Return a server on a real disk that ignores conditional writes."""
    port = _free_ports(1)[0]
    (folder / "disk").mkdir()
    command = [_find_program("rclone"), "serve", "s3", "--config", os.devnull]
    command += ["--addr", f"127.0.0.1:{port}"]
    command += ["--auth-key", f"{KEY_ID},{SECRET}", str(folder / "disk")]
    return RunningServer(command, port, folder)


_SEAWEED_SERVICES = ("master", "volume", "filer", "s3")


class SeaweedServer(RunningServer):
    """SeaweedFS: a server on a real disk that honours conditional writes.

    Master, volume server, filer and gateway are one process here, with a port each and one for
    gRPC. It leaves sockets in /tmp when it is killed; they go by the ports.
    """

    def __init__(self, folder: Path) -> None:
        """Lay out disk and configuration in an empty folder."""
        ports = iter(_free_ports(2 * len(_SEAWEED_SERVICES)))
        self._ports = {name: (next(ports), next(ports)) for name in _SEAWEED_SERVICES}
        (folder / "disk").mkdir()
        super().__init__(self._describe_command(folder), self._ports["s3"][0], folder)
        credentials = {"accessKey": KEY_ID, "secretKey": SECRET}
        identity = {"name": "tests", "credentials": [credentials], "actions": ["Admin"]}
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))

    def _describe_command(self, folder: Path) -> list[str]:
        options = {"ip": "127.0.0.1", "ip.bind": "127.0.0.1", "dir": str(folder / "disk")}
        options |= {"master.telemetry": "false", "master.volumeSizeLimitMB": "64"}
        options |= {"volume.max": "1000", "volume.minFreeSpace": "10MiB", "s3": "true"}
        options |= {"s3.config": str(folder / "s3.json"), "s3.iam": "false"}
        options |= {"s3.port.iceberg": "0", "s3.port.lance": "0"}
        for name, (port, grpc_port) in self._ports.items():
            options |= {f"{name}.port": str(port), f"{name}.port.grpc": str(grpc_port)}
        command = [_find_program("weed"), "-logtostderr=true", "server"]
        return [*command, *(f"-{name}={value}" for name, value in options.items())]

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGKILL)  # to end in order would take it half a minute

    def stop(self, how: signal.Signals) -> None:
        """End it, wait until it has ended, and remove its sockets."""
        super().stop(how)
        for name, ports in self._ports.items():
            for kind in (f"{name}-{ports[0]}", f"{name}-grpc-{ports[1]}"):
                with suppress(FileNotFoundError):
                    Path(f"/tmp/seaweedfs-{kind}.sock").unlink()


def _find_program(name: str) -> str:
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")
    assert found, f"{name} is missing: install the test extra"
    return found


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _answers(endpoint: str) -> bool:
    try:
        with _DIRECT.open(endpoint, timeout=2):
            return True
    except urllib.error.HTTPError as refused:  # any answer at all will do
        refused.close()
        return True
    except OSError:
        return False
