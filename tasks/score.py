"""The score task: masks and metrics of every generated pair of a shard."""

from prefect import get_run_logger

from coupled_core.config import RunConfig
from coupled_core.generation.provenance import choose_device
from coupled_core.planning import ShardPlan
from coupled_core.progress import current_progress
from coupled_core.scoring.shard import score_shard
from tasks.models import scorer_for
from tasks.policy import stage_task
from tasks.shards import work_of


@stage_task("score")
def score(config: RunConfig, shard: ShardPlan) -> None:
    """Score what earlier attempts have not."""
    work = work_of(config, shard)
    device = str(choose_device(config.generation.device))
    num_scored = score_shard(
        work.samples(),
        lambda: scorer_for(config.scoring, device),
        work.folder,
        batch_size=config.generation.batch_size,
        progress=current_progress(),
    )
    get_run_logger().info("shard %d: scored %d batches", shard.shard_index, num_scored)
