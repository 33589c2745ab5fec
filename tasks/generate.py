"""The generate task: images of every sample of a shard."""

from prefect import get_run_logger

from coupled_core.config import RunConfig
from coupled_core.generation.shard import generate_shard
from coupled_core.planning import ShardPlan
from coupled_core.progress import current_progress
from tasks.models import generator_for
from tasks.policy import stage_task
from tasks.shards import work_of


@stage_task("generate")
def generate(config: RunConfig, shard: ShardPlan) -> None:
    """Generate what earlier attempts have not."""
    work = work_of(config, shard)
    num_generated = generate_shard(
        work.samples(),
        lambda: generator_for(config.generation),
        work.folder,
        batch_size=config.generation.batch_size,
        image_format=config.output.image_format,
        progress=current_progress(),
    )
    get_run_logger().info("shard %d: generated %d batches", shard.shard_index, num_generated)
