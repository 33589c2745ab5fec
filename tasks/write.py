"""The write task: a shard's rows and images as parts that no reader sees before the commit."""

from prefect import get_run_logger

from coupled_core.config import RunConfig
from coupled_core.dataset.shard import write_shard
from coupled_core.planning import ShardPlan
from coupled_core.run_facts import describe_run
from tasks.models import generation_of
from tasks.policy import stage_task
from tasks.shards import work_of


@stage_task("write")
def write(config: RunConfig, shard: ShardPlan) -> None:
    """Write and upload the parts of a shard, then mark it finished."""
    work = work_of(config, shard)
    published = write_shard(
        work.content(),
        work.folder,
        work.store,
        describe_run(config, shard.run_id),
        generation_of(config.generation),
        batch_size=config.generation.batch_size,
        store_dropped=config.output.store_dropped,
    )
    work.folder.write_done(published.model_dump(mode="json"))
    get_run_logger().info(
        "shard %d: wrote %s", shard.shard_index, ", ".join(part.key for part in published.parts)
    )
