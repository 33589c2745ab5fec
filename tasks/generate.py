"""The generate task: images of every sample of a shard that an attempt takes."""

from prefect import get_run_logger

from coupled_core.config import RunConfig
from coupled_core.generation.shard import generate_shard
from coupled_core.planning import ShardPlan
from coupled_core.progress import current_progress
from tasks.models import generator_for
from tasks.policy import stage_task
from tasks.shards import work_of


@stage_task("generate")
def generate(config: RunConfig, shard: ShardPlan, attempt: int = 1) -> bool:
    """Generate what is not there yet of an attempt; False: no group of the shard needs it."""
    work, progress = work_of(config, shard), current_progress()
    samples = work.samples(attempt)
    wanted = [sample for sample in samples.values() if sample.attempt == attempt]
    if attempt > 1:
        for stage in ("generate", "score"):
            progress.extend(stage, sum(len(sample.pairs) for sample in wanted))
    num_generated = generate_shard(
        samples,
        lambda: generator_for(config.generation),
        work.folder,
        batch_size=config.generation.batch_size,
        image_format=config.output.image_format,
        progress=progress,
        attempt=attempt,
    )
    get_run_logger().info(
        "shard %d, attempt %d: %d groups, generated %d batches",
        shard.shard_index, attempt, len(wanted), num_generated,
    )  # fmt: skip
    return bool(wanted)
