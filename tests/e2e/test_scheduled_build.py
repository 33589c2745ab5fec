"""A nightly build as it runs in production: a schedule, a work pool, a worker, a real server.

One run serves all tests here; it takes about a minute.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.responses import DeploymentResponse
from prefect.flows import Flow

from coupled_core.config import RunConfig, RunSettings
from coupled_core.dataset.reader import current_snapshot
from coupled_core.runs.profiles import layer_settings
from coupled_core.storage.open_store import open_store
from flows.cli.setting import Offer
from flows.cli.settings import read_settings
from tests.coupled_command import write_prompts
from tests.prefect_server import ROOT, PrefectServer, prefect_server

pytestmark = pytest.mark.timeout(500)
POOL = "nights"
SMALL = {
    "generation": {"num_inference_steps": 2, "batch_size": 1},
    "output": {"shard_size": 1},
}


@dataclass(frozen=True)
class Night:
    """A scheduled build that a worker has run."""

    run: FlowRun
    deployment: DeploymentResponse
    dataset: Path
    logs: list[str]
    task_names: list[str]
    artifacts: dict[str, Any]
    """By key."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as running:
        yield running


@pytest.fixture(scope="module")
def night(server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Night:
    folder = tmp_path_factory.mktemp("night")
    write_prompts(folder / "prompts.parquet", 2)
    parameters = {
        "prompts": str(folder / "prompts.parquet"),
        "output": str(folder / "pairs"),
        "config": SMALL,
    }
    with server.client() as client:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        entrypoint = "flows/build_dataset.py:build_dataset"
        flow: Any = Flow.from_source(source=str(ROOT), entrypoint=entrypoint)
        deployment_id = flow.deploy(
            name="nightly",
            work_pool_name=POOL,
            cron="* * * * * */5",  # the last field is seconds: nobody waits for a full minute
            parameters=parameters,
            print_next_steps=False,
            ignore_warnings=True,
        )
        with server.worker(POOL):
            run = _wait_for_run(server, deployment_id)
        run_filter = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
        logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])), limit=200)
        tasks = client.read_task_runs(flow_run_filter=run_filter)
        of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
        artifacts = client.read_artifacts(artifact_filter=of_run)
        return Night(
            run,
            client.read_deployment(deployment_id),
            folder / "pairs",
            [log.message for log in logs],
            [task.name for task in tasks],
            {str(each.key): each.data for each in artifacts},
        )


def _wait_for_run(server: PrefectServer, deployment_id: UUID) -> FlowRun:
    """Return the first scheduled run once it is over; take the schedule away when it has begun."""
    deadline, first = time.monotonic() + 300.0, None
    with server.client() as client:
        while time.monotonic() < deadline:
            if first is None:
                found = client.read_flow_runs()
                begun = [run for run in found if run.state is not None and run.state.is_running()]
                if begun:
                    first = begun[0].id
                    for schedule in client.read_deployment(deployment_id).schedules:
                        client.update_deployment_schedule(deployment_id, schedule.id, active=False)
            else:
                run = client.read_flow_run(first)
                if run.state is not None and run.state.is_final():
                    return run
            time.sleep(0.3)
    raise TimeoutError((server.folder / "worker.log").read_text()[-3000:])


def test_a_schedule_makes_runs_and_a_worker_finishes_one(night: Night) -> None:
    assert night.run.auto_scheduled
    assert night.run.state is not None
    assert night.run.state.is_completed(), night.logs
    snapshot = current_snapshot(open_store(night.dataset))
    assert snapshot is not None
    assert snapshot.funnel.pairs_planned == 4


def test_a_run_is_called_by_dataset_and_run_id_and_its_tasks_by_shard(night: Night) -> None:
    snapshot = current_snapshot(open_store(night.dataset))
    assert snapshot is not None
    assert night.run.name == f"pairs {snapshot.runs[0].run_id}"
    assert {"shard 00000", "shard 00001"} <= set(night.task_names)


def test_what_the_core_logs_reaches_the_server_with_run_shard_and_stage(night: Night) -> None:
    snapshot = current_snapshot(open_store(night.dataset))
    assert snapshot is not None
    where = f"run_id={snapshot.runs[0].run_id} shard=00001 stage=store"
    assert any("generated batch 0 of 1 groups" in line and where in line for line in night.logs)
    assert any(line.startswith("generate: ") for line in night.logs)


def test_a_run_leaves_a_summary_with_its_funnel(night: Night) -> None:
    summary = night.artifacts["pairs-summary"]
    assert "| pairs planned | 4 |" in summary
    assert str(night.dataset / "snapshots").replace("_", r"\_") in summary


def test_the_form_submitted_unchanged_is_the_command_line_without_options(night: Night) -> None:
    schema = night.deployment.parameter_openapi_schema
    assert schema is not None
    sent = {name: each["default"] for name, each in schema["properties"].items()}
    assert _read_form(sent) == read_settings(RunConfig, {}, Offer())
    # A page that fills in every field from the definitions sends the same in more words.
    spelt_out = {**sent, "config": _fill_in({"$ref": "#/definitions/RunSettings"}, schema)}
    assert _read_form(spelt_out) == _read_form(sent)


def test_every_field_of_the_form_says_what_it_is(night: Night) -> None:
    schema = night.deployment.parameter_openapi_schema
    assert schema is not None
    assert all(each.get("description") for each in schema["properties"].values())
    order = sorted(schema["properties"], key=lambda name: schema["properties"][name]["position"])
    assert order[:3] == ["prompts", "output", "profile"]
    assert order[-1] == "config"
    sections = RunSettings.model_fields
    missing = [
        f"{model}.{name}"
        for model, definition in schema["definitions"].items()
        for name, each in definition["properties"].items()
        if not each.get("description") and name not in sections
    ]
    assert missing == []


def _read_form(sent: dict[str, Any]) -> RunConfig:
    given = {
        "prompts.uri": sent["prompts"],
        "output.uri": sent["output"],
        "generation.seed": sent["seed"],
        "split.splitter": sent["splitter"],
        "split.max_llm_usd": sent["max_llm_usd"],
        "filter.min_combined": sent["min_combined"],
    }
    config = RunSettings.model_validate(sent["config"] or {})
    return layer_settings(sent["profile"], config, given)


def _fill_in(schema: dict[str, Any], root: dict[str, Any]) -> Any:
    """Return the defaults of all fields of an object, down to the last one."""
    definition = root["definitions"][schema["$ref"].rpartition("/")[2]]
    return {
        name: _fill_in(each, root) if "$ref" in each else each["default"]
        for name, each in definition["properties"].items()
        if "$ref" in each or "default" in each
    }
