"""Nights on real servers, in which what takes part is killed at random moments.

    python -m tests.faults.night [--nights 5] [--kills 4] [--seed 0]

A build is deployed on a Prefect server with Postgres, its dataset lies on a SeaweedFS server, and a
worker runs it in a process. Engine (the process of the run), worker, server, Postgres and S3 server
are killed with SIGKILL while it goes on, and started again; a run whose engine is gone is followed
by another of the same deployment. In the end every row must be there once.

It wants Postgres' programs; where it runs as root, Postgres runs as the user postgres.
"""

import argparse
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import boto3
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.flows import Flow
from prefect.settings import PREFECT_API_URL, temporary_settings

from coupled_core.errors import CoupledError
from tests.coupled_command import ROOT, read_rows, write_prompts
from tests.prefect_server import PrefectServer, free_port
from tests.s3_servers import SeaweedServer

NUM_GROUPS = 6
"""Of a night; each is a shard of its own."""
VICTIMS = ("engine", "worker", "server", "postgres", "s3")
_SETTINGS = {
    "generation": {"num_inference_steps": 3, "batch_size": 1},
    "output": {"shard_size": 1},
}
LOG = "NIGHT_LOG"
"""Tells a run in which file to note its batches."""
_TOKEN = "NIGHT_TOKEN"
_MAX_PAUSE_SECONDS = 12.0
"""Between two kills, and at most until what was killed is started again."""
_MAX_NIGHT_SECONDS = 1500.0
_IDLE_SECONDS = 6.0
"""Without an engine, until another run is begun; as long again for the worker to take it up."""


class _Process:
    """Something that is started, killed with all its children, and started again."""

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Path) -> None:
        self._command, self._environment, self._log = command, dict(environment), log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, or start it again where it has come to its end by itself."""
        if self._process is None or self._process.poll() is not None:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command, env=self._environment, stdout=log, stderr=log,
                    start_new_session=True,
                )  # fmt: skip

    def kill(self) -> None:
        """Kill its whole session."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _postgres(folder: Path, port: int) -> _Process:
    data = folder / "postgres"
    is_root = os.geteuid() == 0
    user = ["runuser", "-u", "postgres", "--"] if is_root else []
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    path = os.pathsep.join([*map(str, programs), os.environ["PATH"]])
    data.mkdir()
    if is_root:
        shutil.chown(data, "postgres")
        for each in (folder, *folder.parents)[:-2]:
            each.chmod(0o755)
    environment = {"PATH": path, "LC_ALL": "C"}
    initdb = [*user, "env", f"PATH={path}", "initdb", "-D", str(data), "-A", "trust"]
    subprocess.run([*initdb, "-U", "postgres"], check=True, capture_output=True)
    command = [*user, "env", f"PATH={path}", "postgres", "-D", str(data), "-p", str(port)]
    command += ["-k", str(data), "-c", "listen_addresses=127.0.0.1"]
    return _Process(command, environment, folder / "postgres.log")


class _Night:
    """All that takes part in a night."""

    def __init__(self, folder: Path) -> None:
        port, database_port = free_port(), free_port()
        self.server = PrefectServer(f"http://127.0.0.1:{port}/api", folder)
        self.made, self._token = folder / "made.log", f"{folder.name}-{port}"
        self.made.touch()
        self.s3 = SeaweedServer(folder)
        ours = {LOG: str(self.made), _TOKEN: self._token, **self.s3.server.environment}
        environment = {**self.server.environment, **ours}
        database = f"postgresql+asyncpg://postgres@127.0.0.1:{database_port}/postgres"
        serving = {"PREFECT_API_DATABASE_CONNECTION_URL": database}
        prefect = [sys.executable, "-P", "-m", "prefect"]
        serve = [*prefect, "server", "start", "--host", "127.0.0.1", "--no-ui"]
        work = [*prefect, "worker", "start", "--pool", "nights", "--type", "process"]
        asking = {"PREFECT_WORKER_QUERY_SECONDS": "1"}
        self._processes = {
            "postgres": _postgres(folder, database_port),
            "server": _Process(
                [*serve, "--port", str(port)], {**environment, **serving}, folder / "server.log"
            ),
            "worker": _Process(work, {**environment, **asking}, folder / "worker.log"),
        }

    def start(self, name: str) -> None:
        """Start something; what is not a process of ours starts itself."""
        if name == "s3":
            self.s3.start()
        elif name in self._processes:
            self._processes[name].start()

    def kill(self, name: str) -> bool:
        """Kill something; False: there is none at the moment."""
        if name == "s3":
            self.s3.stop(signal.SIGKILL)
        elif name == "engine":
            engines = self.find_engines()
            for pid in engines:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return bool(engines)
        else:
            self._processes[name].kill()
        return True

    def find_engines(self) -> list[int]:
        """Return the processes of flow runs."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                environment = (path / "environ").read_bytes()
                is_ours = f"{_TOKEN}={self._token}\0".encode() in environment
                if is_ours and b"PREFECT__FLOW_RUN_ID=" in environment:
                    found.append(int(path.name))
        return found

    def end(self) -> None:
        """Kill all."""
        for name in VICTIMS:
            self.kill(name)

    def deploy(self, dataset: str, prompts: Path) -> Any:
        """Make pool and deployment, as soon as the server answers; return the deployment's id."""
        with get_client(sync_client=True) as client:
            client.create_work_pool(WorkPoolCreate(name="nights", type="process"))
        entrypoint = "tests/faults/night_flow.py:build_dataset"
        flow: Any = Flow.from_source(source=str(ROOT), entrypoint=entrypoint)
        return flow.deploy(
            name="night",
            work_pool_name="nights",
            parameters={"prompts": str(prompts), "output": dataset, "config": _SETTINGS},
            print_next_steps=False,
            ignore_warnings=True,
        )


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    with patch.dict(os.environ, values):
        yield


def _retry(act: Any, seconds: float = 180.0) -> Any:
    """Do something that fails while a server is away."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return act()
        except Exception:  # of whatever library: the server is away
            if time.monotonic() > deadline:
                raise
            time.sleep(1.0)


def survive(seed: int, num_kills: int) -> dict[str, Any]:
    """Let one night pass; return what was killed and what came of it."""
    moments, killed = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        night = _Night(Path(name))
        prompts = write_prompts(Path(name) / "prompts.parquet", NUM_GROUPS)
        variables = {**night.s3.server.environment, LOG: str(night.made)}
        try:
            with (
                _variables(variables),
                temporary_settings({PREFECT_API_URL: night.server.url}),
            ):
                for each in ("postgres", "s3", "server"):
                    night.start(each)
                _retry(lambda: boto3.session.Session().client("s3").create_bucket(Bucket="night"))
                deployment = _retry(lambda: night.deploy("s3://night/pairs", prompts))
                night.start("worker")
                num_runs = _go_through(night, deployment, moments, num_kills, killed)
                rows = _retry(lambda: read_rows("s3://night/pairs"))
        finally:
            night.end()
        noted = re.findall(r"work/\w+/(\d+)/: generated batch (\d+)", night.made.read_text())
    made = Counter(noted)
    ids = [row["pair_id"] for row in rows]
    return {
        "killed": dict(killed),
        "runs": num_runs,
        "rows_doubled": len(ids) - len(set(ids)),
        "groups_lost": NUM_GROUPS - len({row["group_id"] for row in rows}),
        "batches": len(made),
        "made_twice": sum(made.values()) - len(made),
    }


def _go_through(
    night: _Night, deployment: Any, moments: random.Random, num_kills: int, killed: Counter[str]
) -> int:
    """Kill and start again until the build is done; return how many runs that took.

    The first is killed when the first batch is there: before that there is little to lose.
    """
    kills_at = math.inf
    victims = [moments.choice(VICTIMS) for _ in range(num_kills)]
    starts_at: dict[str, float] = {}
    num_runs, idle_since, deadline = 0, 0.0, time.monotonic() + _MAX_NIGHT_SECONDS
    while True:
        now = time.monotonic()
        assert now < deadline, "the night does not end"
        for name in [name for name, at in starts_at.items() if at < now]:
            del starts_at[name]
            night.start(name)
        if kills_at == math.inf and night.made.stat().st_size:
            kills_at = now + moments.uniform(0, _MAX_PAUSE_SECONDS)
        if victims and kills_at < now and night.kill(victims[-1]):
            name = victims.pop()
            killed[name] += 1
            starts_at[name] = now + moments.uniform(0, _MAX_PAUSE_SECONDS)
            kills_at = now + moments.uniform(1, _MAX_PAUSE_SECONDS)
        if night.find_engines():
            idle_since = now
        elif not starts_at and now - idle_since > _IDLE_SECONDS:
            if num_runs and _is_done():
                return num_runs
            _retry(lambda: _begin_run(deployment))
            num_runs, idle_since = num_runs + 1, time.monotonic() + _IDLE_SECONDS
        time.sleep(0.3)


def _begin_run(deployment: Any) -> None:
    with get_client(sync_client=True) as client:
        client.create_flow_run_from_deployment(deployment)


def _is_done() -> bool:
    try:
        return len({row["group_id"] for row in read_rows("s3://night/pairs")}) == NUM_GROUPS
    except (CoupledError, AssertionError):
        return False


def main() -> None:
    """Go through nights, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nights", type=int, default=5)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    total = Counter[str]()
    for seed in range(options.seed, options.seed + options.nights):
        found = survive(seed, options.kills)
        print(f"night {seed}: {found}", flush=True)
        total.update(found.pop("killed"))
        total.update(found)
    print(f"in all: {dict(total)}")


if __name__ == "__main__":
    main()
