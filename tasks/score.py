"""The score task: masks and metrics of every generated pair of a shard."""

from prefect import get_run_logger

from coupled_core.config import RunConfig
from coupled_core.generation.provenance import choose_device
from coupled_core.planning import ShardPlan
from coupled_core.progress import current_progress
from coupled_core.scoring.shard import score_shard
from tasks.models import content_filter_for, scorer_for
from tasks.policy import stage_task
from tasks.shards import work_of


@stage_task("score")
def score(config: RunConfig, shard: ShardPlan, attempt: int = 1) -> None:
    """Score what is not scored yet of an attempt."""
    work = work_of(config, shard)
    device = str(choose_device(config.generation.device))
    num_scored = score_shard(
        work.samples(attempt),
        lambda: scorer_for(config.scoring, device),
        work.folder,
        batch_size=config.generation.batch_size,
        progress=current_progress(),
        attempt=attempt,
        load_content_filter=lambda: content_filter_for(
            config.content_filter, config.scoring, device
        ),
    )
    get_run_logger().info("shard %d: scored %d batches", shard.shard_index, num_scored)
