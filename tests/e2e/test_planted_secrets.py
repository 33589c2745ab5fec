"""Builds, failing and succeeding, with secrets wherever the environment can hold one.

They must stand neither on the console nor in --json, in Prefect's database with its logs, events
and artifacts, in its results, nor in the dataset.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from coupled_core.storage.open_store import open_store
from tests.coupled_command import SMALL, Coupled, write_prompts
from tests.faults.proxy import Fault, FaultProxy, Request
from tests.s3_servers import S3Server

pytestmark = pytest.mark.timeout(600)
Build = Callable[[dict[str, str]], tuple[int, str, str]]
"""Builds with some variables set; returns exit code, standard output, standard error."""
SERVE = """
import sys
from flows.cli.temporary_server import temporary_server
with temporary_server(200) as url:
    print(url, flush=True)
    sys.stdin.read()
"""
SECRETS = {
    "AWS_ACCESS_KEY_ID": "plantedid0",
    "AWS_SECRET_ACCESS_KEY": "planted/secret+key",
    "AWS_SESSION_TOKEN": "planted/session+token",
    "ANTHROPIC_API_KEY": "sk-ant-planted-key",
    "HF_TOKEN": "hf_planted_token",
    "PREFECT_API_AUTH_STRING": "planted:planted-password",
}


@dataclass(frozen=True)
class PrefectServer:
    """A server and where its database lies."""

    url: str
    home: Path

    def find_text(self, text: str) -> list[str]:
        """Return the names of its files that hold a text, its database's among them."""
        files = [path for path in self.home.rglob("*") if path.is_file()]
        return [path.name for path in files if text.encode() in path.read_bytes()]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    folder = tmp_path_factory.mktemp("prefect")
    with subprocess.Popen(
        [sys.executable, "-c", SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        url = process.stdout.readline().strip()
        yield PrefectServer(url, folder)
        process.stdin.close()


@pytest.fixture
def build(tmp_path: Path, server: PrefectServer) -> Build:
    def run(environment: dict[str, str]) -> tuple[int, str, str]:
        write_prompts(tmp_path / "prompts.parquet")
        prefect = {"PREFECT_API_URL": server.url, "PREFECT_HOME": str(tmp_path / "prefect")}
        command = Coupled(tmp_path, {**prefect, **environment})
        arguments = ["build", "--prompts", "prompts.parquet", "--output", "s3://planted/pairs"]
        arguments += ["--splitter", "offline", *SMALL]
        return command.run(*arguments, "--json", "--verbose", "--debug")

    return run


def test_an_address_that_refuses_leaks_nothing(build: Build, server: PrefectServer) -> None:
    endpoint = "http://user:secret-pass@127.0.0.1:9/?sig=secret-sig"
    environment = {**S3Server(endpoint).environment, **SECRETS}
    code, output, errors = build(environment)
    assert code == 4, errors
    assert "error: cannot write s3://planted/pairs/work/" in errors
    assert "http://[redacted]@127.0.0.1:9" in errors
    assert server.find_text("[redacted]@127.0.0.1:9") != []
    for secret in ("secret-pass", "secret-sig", *SECRETS.values(), "planted-password"):
        assert secret not in output + errors
        assert server.find_text(secret) == []


def test_a_shard_that_fails_leaks_nothing(
    build: Build,
    server: PrefectServer,
    moto_server: S3Server,
    new_bucket: Callable[..., str],
) -> None:
    def lose_first_shard(request: Request) -> Fault | None:
        is_lost = request.method == "PUT" and "/00000/" in request.path
        return Fault.RESET_BEFORE if is_lost else None

    new_bucket(moto_server, "planted")
    with FaultProxy(moto_server.endpoint, lose_first_shard) as proxy:
        endpoint = proxy.endpoint.replace("http://", "http://user:secret-pass@")
        environment = {**S3Server(endpoint).environment, **SECRETS}
        code, output, errors = build(environment)
    assert code == 5, errors
    [failure] = json.loads(output)["failed_shards"].values()
    assert "cannot write s3://planted/pairs/work/" in failure and "[redacted]@" in failure
    assert server.find_text("[redacted]@127.0.0.1") != []
    for secret in ("secret-pass", *SECRETS.values(), "planted-password"):
        assert secret not in output + errors
        assert server.find_text(secret) == []


def test_a_build_that_succeeds_leaks_nothing(
    build: Build,
    server: PrefectServer,
    moto_server: S3Server,
    new_bucket: Callable[..., str],
    tmp_path: Path,
) -> None:
    new_bucket(moto_server, "planted")
    code, output, errors = build({**moto_server.environment, **SECRETS})
    assert code == 0, errors
    store = open_store("s3://planted/pairs")
    stored = [store.read(info.key) for info in store.list("")]
    assert stored != []
    stored += [path.read_bytes() for path in (tmp_path / "prefect").rglob("*") if path.is_file()]
    assert server.find_text("pairs-summary") != [], "the run's artifact is looked at"
    for secret in (*SECRETS.values(), "planted-password"):
        assert secret not in output + errors
        assert server.find_text(secret) == []
        assert not any(secret.encode() in each for each in stored)
