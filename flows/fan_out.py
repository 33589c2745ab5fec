"""The shards of a run, one after another or side by side: who builds them is a setting."""

import multiprocessing
import os
import queue
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from prefect.futures import PrefectFuture
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner

from coupled_core.config import ExecutionConfig, RunConfig
from coupled_core.errors import ConfigError
from coupled_core.progress import current_progress
from coupled_core.redaction import clean_error
from coupled_core.runs.plan import ShardPlan
from coupled_core.runs.steps import ShardResult
from flows.build_shard import build_shard
from flows.worker_process import take_device

_QUEUED_PER_WORKER = 2
"""Shards that are submitted for each worker: one at work, one that waits at its door.

Whatever was submitted is in memory and in the server's database; a run may have thousands.
"""


@dataclass(frozen=True)
class Outcome:
    """What became of a shard."""

    shard: ShardPlan
    result: ShardResult | None = None
    """None: it failed, or somebody else built it and keeps the numbers."""
    error: BaseException | None = None
    """None: it is built. Without secrets."""


def build_side_by_side(
    config: RunConfig, execution: ExecutionConfig, shards: Sequence[ShardPlan]
) -> Generator[Outcome, None, None]:
    """Yield what becomes of each shard, as soon as it is known; close it to stop the others.

    Raises:
        ConfigError: Ray is asked for and not installed.
    """
    if not shards:
        return
    if execution.runner == "processes":
        devices = _list_devices(config)
        num_workers = execution.workers or max(len(devices), 1)
        yield from _submit_all(config, shards, _open_processes(num_workers, devices), num_workers)
    elif execution.runner == "ray":
        yield from _build_on_ray(config, execution, shards)
    else:
        for shard in shards:
            yield _outcome_of(shard, partial(build_shard, config, shard))


def _outcome_of(shard: ShardPlan, build: Callable[[], ShardResult]) -> Outcome:
    try:
        return Outcome(shard, build())
    except Exception as error:  # whatever it is, the flow decides what follows from it
        current_progress().advance("shards", 0)  # where a signal came out as this, it is no failure
        return Outcome(shard, error=clean_error(error))


def _submit_all(
    config: RunConfig,
    shards: Sequence[ShardPlan],
    runner: TaskRunner[Any],
    num_workers: int,
    options: AbstractContextManager[Any] | None = None,
) -> Generator[Outcome, None, None]:
    """Keep the workers busy, and no more than that in flight."""
    rest = iter(shards)
    pending: dict[PrefectFuture[Any], ShardPlan] = {}
    finished: queue.SimpleQueue[PrefectFuture[Any]] = queue.SimpleQueue()
    with runner, options or nullcontext():
        try:
            while True:
                for shard in islice(rest, _QUEUED_PER_WORKER * num_workers - len(pending)):
                    future = runner.submit(build_shard, {"config": config, "shard": shard})
                    pending[future] = shard
                    future.add_done_callback(finished.put)
                if not pending:
                    return
                future = finished.get()
                yield _outcome_of(pending.pop(future), future.result)
        except BaseException:  # leaving the runner waits for what is at work, which may take long
            _end_children()
            raise


def _open_processes(num_workers: int, devices: Sequence[str]) -> ProcessPoolTaskRunner:
    taken = multiprocessing.get_context("spawn").Value("i", 0)
    return ProcessPoolTaskRunner(num_workers, initializer=take_device, initargs=(taken, devices))


def _list_devices(config: RunConfig) -> list[str]:
    """Return the CUDA devices of this machine that the settings let us use, as torch counts."""
    if config.generation.device not in ("auto", "cuda"):
        return []
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(n) for n in range(torch.cuda.device_count())]


def _end_children() -> None:
    for child in multiprocessing.active_children():
        child.terminate()


def _build_on_ray(
    config: RunConfig, execution: ExecutionConfig, shards: Sequence[ShardPlan]
) -> Generator[Outcome, None, None]:
    try:
        import ray
        from prefect_ray import RayTaskRunner
        from prefect_ray.context import remote_options
    except ImportError as error:
        raise ConfigError(
            f"runner ray needs what is not installed ({error.name}): pip install "
            "'coupled-images[ray]'"
        ) from error
    started_here = execution.ray_address is None
    local: Mapping[str, Any] = {"include_dashboard": False, "num_cpus": execution.workers}
    ray.init(execution.ray_address, namespace="prefect", **(local if started_here else {}))
    try:
        resources = ray.cluster_resources()
        num_gpus = int(resources.get("GPU", 0))
        num_workers = execution.workers or num_gpus or int(resources.get("CPU", 1))
        options = remote_options(num_gpus=1) if num_gpus else remote_options(num_cpus=1)
        yield from _submit_all(config, shards, RayTaskRunner(), num_workers, options)
    finally:
        ray.shutdown()
