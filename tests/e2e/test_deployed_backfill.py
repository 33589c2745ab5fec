"""A backfill as a deployment: a worker runs it, and its shards as runs of another deployment."""

import time
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.flows import Flow

from tests.coupled_command import read_rows, write_prompts
from tests.prefect_server import ROOT, prefect_server

pytestmark = pytest.mark.timeout(900)
POOL = "nights"
SMALL = {
    "generation": {"num_inference_steps": 2, "batch_size": 1},
    "output": {"shard_size": 1},
}
RANGES = {
    "runner": "deployment",
    "deployment": "build-dataset/shards",
    "shards_per_run": 1,
    "workers": 2,
}


def _deploy(entrypoint: str, name: str, parameters: dict[str, Any]) -> UUID:
    flow: Any = Flow.from_source(source=str(ROOT), entrypoint=entrypoint)
    made: UUID = flow.deploy(
        name=name,
        work_pool_name=POOL,
        parameters=parameters,
        print_next_steps=False,
        ignore_warnings=True,
    )
    return made


def _wait(client: SyncPrefectClient, run_id: UUID) -> FlowRun:
    deadline = time.monotonic() + 800
    while time.monotonic() < deadline:
        run = client.read_flow_run(run_id)
        if run.state is not None and run.state.is_final():
            return run
        time.sleep(0.5)
    raise TimeoutError(str(run_id))


def test_a_worker_builds_partitions_by_runs_of_ranges_that_lease_their_shards(
    tmp_path: Path,
) -> None:
    for day in (1, 2):
        write_prompts(tmp_path / f"set-2026-11-0{day}.parquet", 1 + day)
    parameters = {
        "name": "autumn",
        "prompts": str(tmp_path / "set-*.parquet"),
        "output": str(tmp_path / "pairs"),
        "execution": RANGES,
        "config": SMALL,
    }
    with prefect_server(tmp_path) as server, server.client() as client:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        _deploy("flows/build_dataset.py:build_dataset", "shards", {})
        deployment = _deploy("flows/backfill.py:backfill", "backfill", parameters)
        with server.worker(POOL, limit=3):
            run = client.create_flow_run_from_deployment(deployment)
            ended = _wait(client, run.id)
        found = client.read_flow_runs()
    log = (tmp_path / "worker.log").read_text()
    assert ended.state is not None and ended.state.is_completed(), log[-3000:]
    ranges = [each.name for each in found if " shards " in each.name]
    assert len(ranges) == len(set(ranges)) == 3  # two groups and one that the first day lacks
    rows = read_rows(tmp_path / "pairs")
    assert len({row["group_id"] for row in rows}) == 3
    assert len(rows) == len({row["pair_id"] for row in rows})
    assert not list((tmp_path / "pairs").glob("work/*/leases/0*")), "a lease was left behind"
