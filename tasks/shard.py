"""The tasks of one shard: split, generate, score, filter, write."""

from prefect import get_run_logger

from coupled_core.generation.provenance import choose_device
from coupled_core.progress import current_progress
from coupled_core.runs.facts import describe_run
from coupled_core.runs.models import content_filter_for, generator_for, scorer_for, splitter_for
from coupled_core.runs.refusals import refusal_for
from coupled_core.runs.selection import count_decisions
from coupled_core.runs.shard import ShardWork
from coupled_core.runs.stages import generate_shard, score_shard, split_shard
from coupled_core.runs.write import write_shard
from coupled_core.splitting.splitter import account_of
from tasks.policy import stage_task


@stage_task("split")
def split(work: ShardWork) -> None:
    """Split the groups of a shard."""
    account = account_of(work.config, work.plan.run_id)
    splitter = splitter_for(work.config.split, account)
    num_failed = split_shard(work, splitter, refusal_for(work.config, work.generation))
    get_run_logger().info(
        "shard %d: split %d groups, %d failed, %d rows quarantined",
        work.plan.shard_index, len(work.input.groups), num_failed, len(work.input.bad_rows),
    )  # fmt: skip


@stage_task("generate")
def generate(work: ShardWork, attempt: int = 1) -> bool:
    """Generate what is not there yet of an attempt; False: no group of the shard needs it."""
    progress, samples = current_progress(), work.attempt(attempt).samples
    if attempt > 1:
        for stage in ("generate", "score"):
            progress.extend(stage, sum(len(sample.pairs) for sample in samples.values()))
    num_generated = generate_shard(
        work, lambda: generator_for(work.config.generation), progress, attempt
    )
    get_run_logger().info(
        "shard %d, attempt %d: %d groups, generated %d batches",
        work.plan.shard_index, attempt, len(samples), num_generated,
    )  # fmt: skip
    return bool(samples)


@stage_task("score")
def score(work: ShardWork, attempt: int = 1) -> None:
    """Score what is not scored yet of an attempt."""
    config, device = work.config, str(choose_device(work.config.generation.device))
    num_scored = score_shard(
        work,
        lambda: scorer_for(config.scoring, device),
        current_progress(),
        attempt,
        lambda: content_filter_for(config.content_filter, config.scoring, device),
    )
    get_run_logger().info("shard %d: scored %d batches", work.plan.shard_index, num_scored)


@stage_task("filter")
def filter_pairs(work: ShardWork) -> None:
    """Decide about every scored pair."""
    counts = count_decisions(work.decisions)
    get_run_logger().info("shard %d: %s", work.plan.shard_index, dict(counts))


@stage_task("write")
def write(work: ShardWork) -> None:
    """Write and upload the parts of a shard, then mark it finished."""
    written = write_shard(work, describe_run(work.config, work.plan.run_id))
    keys = ", ".join(part.key for part in written.parts)
    get_run_logger().info("shard %d: wrote %s", work.plan.shard_index, keys)
