"""The filter task: which scored pairs of a shard are kept."""

from prefect import get_run_logger

from coupled_core.config import RunConfig
from coupled_core.filtering.shard import filter_shard
from coupled_core.planning import ShardPlan
from tasks.policy import stage_task
from tasks.shards import work_of


@stage_task("filter")
def filter_pairs(config: RunConfig, shard: ShardPlan) -> None:
    """Decide about every scored pair."""
    work = work_of(config, shard)
    counts = filter_shard(
        work.samples(),
        work.folder,
        config.filter,
        batch_size=config.generation.batch_size,
        selection=config.selection,
    )
    get_run_logger().info("shard %d: %s", shard.shard_index, dict(counts))
