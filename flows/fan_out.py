"""The shards of a run, one after another or side by side: who builds them is a setting."""

import multiprocessing
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, TypeVar

from prefect import Task
from prefect.futures import PrefectFuture
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner

from coupled_core.config import ExecutionConfig, RunConfig
from coupled_core.errors import ConfigError, NodeLostError
from coupled_core.runs.division import (
    Elsewhere,
    Outcome,
    Read,
    divide,
    divide_here,
    look_at_shards,
)
from coupled_core.runs.plan import ShardPlan
from coupled_core.runs.steps import ShardResult
from flows.build_shard import build_shard
from flows.worker_process import take_device

_QUEUED_PER_WORKER = 2
"""Pieces that are submitted for each worker: one at work, one that waits at its door.

Whatever was submitted is in memory and in the server's database; a run may have thousands.
"""

T = TypeVar("T")
R = TypeVar("R")
ShardOutcome = Outcome[ShardPlan, ShardResult]


def build_side_by_side(
    config: RunConfig, execution: ExecutionConfig, shards: Sequence[ShardPlan]
) -> Generator[ShardOutcome, None, None]:
    """Yield what becomes of each shard, as soon as it is known; close it to stop the others.

    Other processes may be given the same shards: what they build is looked at until it is built.

    Raises:
        ConfigError: Ray is asked for and not installed.
    """
    if not shards:
        return
    if execution.runner == "processes":
        devices = list_devices(config)
        num_workers = execution.workers or max(len(devices), 1)
        runner = open_processes(num_workers, devices)
        yield from _submit_shards(config, shards, runner, num_workers)
    elif execution.runner == "ray":
        yield from _build_on_ray(config, execution, shards)
    else:
        build = partial(build_shard, config)
        yield from divide_here(shards, look_at_shards(config), build, stage="shards")


def submit_all(
    task: Task[..., R | Elsewhere],
    pieces: Mapping[T, Mapping[str, Any]],
    look: Callable[[T], Elsewhere | None],
    runner: TaskRunner[Any],
    num_workers: int,
    *,
    stage: str,
    options: AbstractContextManager[Any] | None = None,
) -> Generator[Outcome[T, R], None, None]:
    """Keep the workers of a runner busy, and no more than that in flight.

    Args:
        task: Does a piece of work.
        pieces: Its parameters, by piece.
        look: As `divide` takes it.
        runner: Not opened yet.
        num_workers: How many pieces it works on at a time.
        stage: As `divide` takes it.
        options: Is opened around all submissions.
    """

    def begin(piece: T, take: Callable[[Read[R]], None]) -> None:
        future: PrefectFuture[Any] = runner.submit(task, dict(pieces[piece]))
        future.add_done_callback(lambda ended: take(ended.result))

    with runner, options or nullcontext():
        try:
            at_once = _QUEUED_PER_WORKER * num_workers
            yield from divide(pieces, look, begin, stage=stage, at_once=at_once)
        except BaseException:  # leaving the runner waits for what is at work, which may take long
            _end_children()
            raise


def _submit_shards(
    config: RunConfig,
    shards: Sequence[ShardPlan],
    runner: TaskRunner[Any],
    num_workers: int,
    options: AbstractContextManager[Any] | None = None,
) -> Generator[ShardOutcome, None, None]:
    pieces = {shard: {"config": config, "shard": shard} for shard in shards}
    look = look_at_shards(config)
    yield from submit_all(
        build_shard, pieces, look, runner, num_workers, stage="shards", options=options
    )


def open_processes(num_workers: int, devices: Sequence[str]) -> ProcessPoolTaskRunner:
    """Return a runner whose processes share out the devices among them."""
    # Prefect's pool starts its processes by spawn, and only a lock of that kind can be handed to
    # them.
    taken = multiprocessing.get_context("spawn").Value("i", 0)
    return ProcessPoolTaskRunner(num_workers, initializer=take_device, initargs=(taken, devices))


def list_devices(config: RunConfig) -> list[str]:
    """Return the CUDA devices of this machine that the settings let us use, as torch counts."""
    if config.generation.device not in ("auto", "cuda"):
        return []
    import torch

    # Its entries may be indices or UUIDs; a worker that sees one of them calls it cuda:0.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(n) for n in range(torch.cuda.device_count())]


def _end_children() -> None:
    for child in multiprocessing.active_children():
        child.terminate()


def _build_on_ray(
    config: RunConfig, execution: ExecutionConfig, shards: Sequence[ShardPlan]
) -> Generator[ShardOutcome, None, None]:
    try:
        import ray
        from prefect_ray import RayTaskRunner
        from prefect_ray.context import remote_options
    except ImportError as error:
        raise ConfigError(
            f"runner ray needs what is not installed ({error.name}): pip install "
            "'coupled-images[ray]'"
        ) from error
    address = execution.ray_address
    local: Mapping[str, Any] = {"include_dashboard": False, "num_cpus": execution.workers}
    try:
        ray.init(address, namespace="prefect", **(local if address is None else {}))
    except (ConnectionError, ray.exceptions.AuthenticationError) as error:
        raise ConfigError(
            f"ray_address {address}: no Ray cluster lets this process in ({error}). Try `ray "
            "status --address` from here; a cluster with tokens wants its own in RAY_AUTH_TOKEN"
        ) from error
    try:
        resources = ray.cluster_resources()
        num_gpus = int(resources.get("GPU", 0))
        num_workers = execution.workers or num_gpus or int(resources.get("CPU", 1))
        options = remote_options(num_gpus=1) if num_gpus else remote_options(num_cpus=1)
        for outcome in _submit_shards(config, shards, RayTaskRunner(), num_workers, options):
            if isinstance(outcome.error, ray.exceptions.LocalRayletDiedError):
                raise NodeLostError(  # else every shard would be noted as failed, one after another
                    "the Ray node that this run was connected to is gone; run the same command "
                    "again, it goes on where this one stopped"
                ) from outcome.error
            yield outcome
    finally:
        ray.shutdown()
