"""Sets up a Prefect server for us: work pool, queues, deployments, automations, a bucket if asked.

Run from the root of the checkout or image, with `PREFECT_API_URL` and the `COUPLED_` variables of
`env.example` set. A second run changes nothing and says so; what a person switched off stays off.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.exceptions import ClientError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from coupled_core.redaction import redact

HERE = Path(__file__).parent
POOL = "coupled"
VARIABLES = ("COUPLED_PROMPTS", "COUPLED_OUTPUT", "COUPLED_PROFILE", "COUPLED_TIMEZONE")
QUEUES = {"nightly": 1, "on-demand": 2, "shards": 3, "backfill": 4}
"""Priorities: a worker that has room takes what waits in the nightly queue first."""
_SILENCE = timedelta(seconds=90)  # three heartbeats: one may be lost
_MAX_START_SECONDS = 120.0
_ENDS = ("Completed", "Failed", "Crashed", "Cancelled", "Paused", "Suspended")


def main() -> None:
    """Set everything up and say what changed."""
    asked = _read_arguments()
    _check_environment()
    changes: list[str] = []
    if asked.bucket:
        changes += create_bucket(asked.bucket)
    with get_client(sync_client=True) as client:
        wait_for_server(client)
        changes += set_up_pool(client, asked.pool_type)
        changes += set_up_queues(client, asked.gpu_runs, asked.backfill_runs)
        changes += deploy(client)
        changes += set_up_automations(client)
    print("\n".join(changes) if changes else "nothing to change")


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.set_up", description=__doc__)
    kinds = sorted(path.stem for path in (HERE / "pools").glob("*.yaml"))
    parser.add_argument("--pool-type", choices=kinds, default="process", help="who starts runs")
    parser.add_argument("--bucket", help="create this bucket if the store lacks it")
    parser.add_argument("--gpu-runs", type=int, default=4, help="runs of shard ranges at a time")
    parser.add_argument("--backfill-runs", type=int, default=1, help="backfills at a time")
    return parser.parse_args()


def _check_environment() -> None:
    os.environ.setdefault("COUPLED_HOME", str(HERE.parent))
    os.environ.setdefault("COUPLED_REVISION", _revision())
    missing = [name for name in ("PREFECT_API_URL", *VARIABLES) if not os.environ.get(name)]
    if missing:
        sys.exit(f"not set: {', '.join(missing)}; infra/env.example says what they are")


def _revision() -> str:
    asked = ["git", "-C", str(HERE.parent), "describe", "--always", "--dirty"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def wait_for_server(client: SyncPrefectClient) -> None:
    """Return once the server answers: one that was just started makes its tables first."""
    deadline = time.monotonic() + _MAX_START_SECONDS
    while (trouble := client.api_healthcheck()) is not None:
        if time.monotonic() > deadline:
            sys.exit(redact(f"{os.environ['PREFECT_API_URL']} does not answer: {trouble}"))
        time.sleep(1.0)


def create_bucket(name: str) -> Iterator[str]:
    """Create a bucket where the credentials' store has none of this name."""
    store = boto3.client("s3")
    try:
        store.head_bucket(Bucket=name)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        store.create_bucket(Bucket=name)
        yield f"created bucket {name}"


def set_up_pool(client: SyncPrefectClient, pool_type: str) -> Iterator[str]:
    """Create the work pool, or give it the template of the files."""
    template = yaml.safe_load((HERE / "pools" / f"{pool_type}.yaml").read_text(encoding="utf-8"))
    try:
        found = client.read_work_pool(POOL)
    except ObjectNotFound:
        wanted = WorkPoolCreate(name=POOL, type=pool_type, base_job_template=template)
        client.create_work_pool(wanted)
        yield f"created work pool {POOL} of type {pool_type}"
        return
    if found.type != pool_type:
        sys.exit(f"work pool {POOL}: expected type {pool_type}, got {found.type}; delete it first")
    if found.base_job_template != template:
        client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))
        yield f"changed the job template of work pool {POOL}"


def set_up_queues(client: SyncPrefectClient, gpu_runs: int, backfill_runs: int) -> Iterator[str]:
    """Create the queues with their priorities and limits.

    Limits stand on queues and not on the pool: a run that waits for runs of its shards would
    otherwise hold the place that they need.
    """
    limits = {"shards": gpu_runs, "backfill": backfill_runs}
    for name, priority in QUEUES.items():
        limit = limits.get(name)
        try:
            found = client.read_work_queue_by_name(name, work_pool_name=POOL)
        except ObjectNotFound:
            found = client.create_work_queue(
                name, priority=priority, concurrency_limit=limit, work_pool_name=POOL
            )
            yield f"created queue {name}: priority {priority}, limit {limit}"
            continue
        if (found.priority, found.concurrency_limit) != (priority, limit):
            client.update_work_queue(found.id, priority=priority, concurrency_limit=limit)
            yield f"changed queue {name}: priority {priority}, limit {limit}"


def deploy(client: SyncPrefectClient) -> Iterator[str]:
    """Apply `prefect.yaml` by Prefect's own command, which can also be called by hand."""
    before = _describe_deployments(client)
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    command += ["--prefect-file", str(HERE / "prefect.yaml")]
    done = subprocess.run(
        command, cwd=HERE.parent, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}")
    for name, description in _describe_deployments(client).items():
        if name not in before:
            yield f"created deployment {name}"
        elif before[name] != description:
            yield f"changed deployment {name}"


def _describe_deployments(client: SyncPrefectClient) -> dict[str, str]:
    flows = {flow.id: flow.name for flow in client.read_flows()}
    changing = {"id", "created", "updated", "status", "last_polled", "deployment_id"}

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items() if key not in changing}
        return [plain(each) for each in value] if isinstance(value, list) else value

    return {
        f"{flows[each.flow_id]}/{each.name}": json.dumps(
            plain(each.model_dump(mode="json")), sort_keys=True
        )
        for each in client.read_deployments()
    }


def set_up_automations(client: SyncPrefectClient) -> Iterator[str]:
    """Create the automations, or change those of the same name; leave switches as they are."""
    for wanted in (zombies(), checked_snapshots(client)):
        found = client.read_automations_by_name(wanted.name)
        if not found:
            client.create_automation(wanted)
            yield f"created automation {wanted.name}"
            continue
        as_wanted = wanted.model_copy(update={"enabled": found[0].enabled})
        fields = set(AutomationCore.model_fields)
        if _plain(found[0].model_dump(mode="json", include=fields)) != _plain(
            as_wanted.model_dump(mode="json")
        ):
            client.update_automation(found[0].id, as_wanted)
            yield f"changed automation {wanted.name}"


def _plain(automation: dict[str, Any]) -> str:
    """Return it with the order of sets settled and without the names that the server gives."""

    def settle(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: settle(each) for key, each in value.items() if key != "id"}
        if isinstance(value, list):
            return sorted((settle(each) for each in value), key=lambda each: json.dumps(each))
        return value

    return json.dumps(settle(automation), sort_keys=True)


def zombies() -> AutomationCore:
    """Runs whose process or machine is gone: nobody else notices on a server of one's own.

    Runs send a heartbeat every 30 seconds (`PREFECT_FLOWS_HEARTBEAT_FREQUENCY`, set for workers).
    """
    return AutomationCore(
        name="coupled: crash zombies",
        description="A run that was silent for 90 s is Crashed, so that its place is free again.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{end}" for end in _ENDS)},
            match={"prefect.resource.id": ["prefect.flow-run.*"]},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=_SILENCE,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message="no heartbeat for 90 s")],
    )


def checked_snapshots(client: SyncPrefectClient) -> AutomationCore:
    """An example of what can follow a commit; off, because it reads the whole snapshot again."""
    dataset = {"__prefect_kind": "jinja", "template": "{{ event.payload.dataset }}"}
    deployment = client.read_deployment_by_name("verify-dataset/weekly")
    return AutomationCore(
        name="coupled: verify each snapshot",
        description="Starts verify-dataset when a snapshot was committed.",
        enabled=False,
        trigger=EventTrigger(
            expect={"coupled.snapshot.committed"},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[RunDeployment(deployment_id=deployment.id, parameters={"dataset": dataset})],
    )


if __name__ == "__main__":
    main()
