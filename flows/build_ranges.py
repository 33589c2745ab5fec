"""Ranges of shards as runs of a deployment, for clusters whose work pool starts a pod a run.

A range keeps its name and its key whoever asks for it. So a parent that is tried again finds the
runs that it has started, finished or not, and starts only what is missing.
"""

import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect import runtime
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.states import Cancelling

from coupled_core.config import ExecutionConfig
from coupled_core.dataset.work import DONE, list_work
from coupled_core.errors import (
    ConfigError,
    CoupledError,
    LlmError,
    ModelUnavailableError,
    PromptSetError,
    ScheduleError,
)
from coupled_core.runs.division import Outcome, cut_ranges
from coupled_core.runs.plan import RunPlan, ShardPlan
from coupled_core.runs.summary import StoppedByLlmError
from coupled_core.storage.store import ObjectStore
from flows.fan_out import ShardOutcome

_ASK_EVERY_SECONDS = 5.0
_FAILED_WITH = "Flow run encountered an exception: "
"""How Prefect begins what it says of a failed run; the name of the error follows."""
_STOP_ALL = {
    kind.__name__
    for kind in (
        ConfigError,
        LlmError,
        ModelUnavailableError,
        PromptSetError,
        ScheduleError,
        StoppedByLlmError,
    )
}
"""Errors that the run of every other range would meet, too."""
_MAX_TRIES = 5
"""Runs of one range that one run of the parent, its retries included, starts at most."""


@dataclass(frozen=True)
class _Range:
    name: str
    shards: tuple[ShardPlan, ...]


def build_in_ranges(
    store: ObjectStore, run: RunPlan, execution: ExecutionConfig, parameters: Mapping[str, Any]
) -> Generator[ShardOutcome, None, None]:
    """Yield what becomes of each open shard when the run of its range has ended.

    Args:
        execution: Names the deployment, and how many runs go on at a time.
        parameters: Of the runs, less the range that each of them builds.

    Raises:
        ConfigError: no deployment is named.
    """
    if execution.deployment is None:
        raise ConfigError(
            "runner deployment: expected the deployment that builds ranges of shards, such as "
            "build-dataset/shards; got none. Not this run's own where that has a limit of one run"
        )
    by_index = {shard.shard_index: shard for shard in run.open_shards}
    cut = cut_ranges(list(by_index), execution.shards_per_run)
    waiting = [_Range(name, tuple(by_index[index] for index in inside)) for name, inside in cut]
    # Without a limit here, the work pool's own limit decides how many run.
    limit = execution.workers or len(waiting)
    started: dict[UUID, _Range] = {}
    with get_client(sync_client=True) as client:
        try:
            while waiting or started:
                while waiting and len(started) < limit:
                    part = waiting.pop(0)
                    found = _start(execution.deployment, run.run_id, part, parameters)
                    started[found.id] = part
                for ended in _wait_for_some(client, started):
                    yield from _tell(store, run.run_id, started.pop(ended.id), ended)
        except BaseException:
            # Cancelling, not Cancelled: whoever runs them has yet to stop them in
            # good order.
            for flow_run_id in started:
                client.set_flow_run_state(flow_run_id, Cancelling())
            raise


def _start(deployment: str, run_id: str, part: _Range, parameters: Mapping[str, Any]) -> FlowRun:
    """Start the run of a range, or find the one that was started; one that failed is replaced."""
    for attempt in range(_MAX_TRIES):
        found: FlowRun = run_deployment(  # type: ignore[assignment]  # a flow runs it in this thread
            deployment,
            parameters={**parameters, "shards": part.name},
            flow_run_name=f"{run_id} shards {part.name}",
            idempotency_key=f"{runtime.flow_run.id}:{part.name}:{attempt}",
            timeout=0,  # returns at once, and does not wait for the run's end
        )
        # A key that is known already gives the old run back, which may have ended: then the next
        # key starts another.
        if found.state is None or not found.state.is_final():
            return found
    raise CoupledError(
        f"the run of shards {part.name} has ended {_MAX_TRIES} times without building them: see "
        f"the runs of {deployment} named {run_id} shards {part.name}"
    )


def _wait_for_some(client: SyncPrefectClient, started: Mapping[UUID, _Range]) -> list[FlowRun]:
    while True:
        found = [client.read_flow_run(flow_run_id) for flow_run_id in started]
        if ended := [each for each in found if each.state is not None and each.state.is_final()]:
            return ended
        time.sleep(_ASK_EVERY_SECONDS)


def _tell(store: ObjectStore, run_id: str, part: _Range, ended: FlowRun) -> Iterator[ShardOutcome]:
    """Yield the shards of a range: what counts is which of them are marked finished."""
    # A run that failed may have finished most of its shards first.
    done = {each.shard_index for each in list_work(store, run_id) if each.name == DONE}
    missing = _describe_end(ended)
    for shard in part.shards:
        yield Outcome(shard, error=None if shard.shard_index in done else missing)


def _describe_end(ended: FlowRun) -> CoupledError:
    """Return what kept a run from building all of its shards; it may stop all other runs, too."""
    state, said = "unknown", ""
    if ended.state is not None:
        state, said = ended.state.type.value, ended.state.message or ""
    # Only this text crosses from the other process; the error itself is not persisted.
    kind, _, text = said.removeprefix(_FAILED_WITH).partition(": ")
    error = CoupledError(f"flow run {ended.name} ended {state} without building it: {said}")
    if said.startswith(_FAILED_WITH) and kind in _STOP_ALL:
        error = CoupledError(f"flow run {ended.name} ended {state}: {text}")
        error.must_repeat = True
    return error
