"""What is done with a shard, step by step, with the models of this process.

A step keeps what it has finished in the dataset's work folder and passes over what it finds there.
It says in the log what it did, notes when, and an error that ends it knows where it happened.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from coupled_core.config import RunConfig
from coupled_core.dataset.funnel import Funnel
from coupled_core.generation.provenance import choose_device
from coupled_core.progress import current_progress
from coupled_core.runs.facts import describe_run
from coupled_core.runs.models import (
    content_filter_for,
    generator_for,
    has_room_beside,
    scorer_for,
    splitter_for,
)
from coupled_core.runs.pipeline import ShardModels, make_batches
from coupled_core.runs.refusals import refusal_for
from coupled_core.runs.selection import count_decisions
from coupled_core.runs.shard import ShardWork
from coupled_core.runs.stages import split_shard
from coupled_core.runs.write import write_shard
from coupled_core.splitting.splitter import account_of

P = ParamSpec("P")
R = TypeVar("R")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShardResult:
    """What became of a shard, small enough to travel between processes."""

    shard_index: int
    num_pairs: int
    """Pairs that were to be made, further attempts not counted."""
    funnel: Funnel
    """What became of its rows."""
    seconds: dict[str, float]
    """What each step took in this start; work of an earlier start is not in it."""


def _step(
    function: Callable[Concatenate[ShardWork, P], R],
) -> Callable[Concatenate[ShardWork, P], R]:
    name = function.__name__.partition("_")[0]

    @wraps(function)
    def run(work: ShardWork, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with work.doing(name):
            return function(work, *args, **kwargs)

    return run


@_step
def split(work: ShardWork) -> None:
    """Split the groups of a shard."""
    account = account_of(work.config, work.plan.run_id)
    splitter = splitter_for(work.config.split, account)
    num_failed = split_shard(work, splitter, refusal_for(work.config, work.generation))
    _logger.info(
        "split %d groups, %d failed, %d rows quarantined",
        len(work.input.groups), num_failed, len(work.input.bad_rows),
    )  # fmt: skip


@_step
def make_pairs(work: ShardWork, attempt: int = 1) -> bool:
    """Make what is not there yet of an attempt; False: no group of the shard needs it.

    Batches are stored and scored while those behind them are generated.
    """
    progress, samples = current_progress(), work.attempt(attempt).samples
    if attempt > 1:
        for stage in ("generate", "score"):
            # How many are tried again is known only now, when the rounds before are scored.
            progress.extend(stage, sum(len(sample.pairs) for sample in samples.values()))
    models = models_for(work.config)
    made = make_batches(work, models, progress, attempt)
    _logger.info(
        "attempt %d: %d groups, generated %d batches, scored %d",
        attempt, len(samples), made.num_generated, made.num_scored,
    )  # fmt: skip
    return bool(samples)


def models_for(config: RunConfig) -> ShardModels:
    """Return what loads the models of a run."""
    device = choose_device(config.generation.device)

    return ShardModels(
        lambda: generator_for(config.generation, config.scoring),
        lambda: scorer_for(config.scoring, device),
        lambda: content_filter_for(config.content_filter, config.scoring, device),
        may_score_beside=lambda: has_room_beside(device),
    )


@_step
def filter_pairs(work: ShardWork) -> None:
    """Decide about every scored pair."""
    counts = count_decisions(work.decisions)
    _logger.info("filter: %s", ", ".join(f"{name} {n}" for name, n in counts.items()))


@_step
def write(work: ShardWork) -> ShardResult:
    """Write and upload the parts of a shard, then mark it finished."""
    written = write_shard(work, describe_run(work.config, work.plan.run_id))
    _logger.info("wrote %s", ", ".join(part.key for part in written.parts))
    plan = work.plan
    return ShardResult(plan.shard_index, plan.num_pairs, written.funnel, work.trace.seconds())
