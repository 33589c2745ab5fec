"""The split task: background and entities of every group of a shard."""

from prefect import get_run_logger

from coupled_core.config import RunConfig
from coupled_core.planning import ShardPlan
from coupled_core.records import PromptGroup, QuarantinedRow, Rejection
from coupled_core.splitting.shard import split_shard
from tasks.models import prompts_of, splitter_for
from tasks.policy import stage_task
from tasks.shards import work_of


@stage_task("split")
def split(config: RunConfig, shard: ShardPlan) -> None:
    """Split the groups of a shard."""
    items = prompts_of(config.prompts).read(shard.first_item, shard.num_items)
    result = split_shard(
        [item for item in items if isinstance(item, PromptGroup)],
        [item for item in items if isinstance(item, QuarantinedRow)],
        splitter_for(config.split),
        work_of(config, shard).folder,
    )
    num_failed = sum(isinstance(outcome, Rejection) for outcome in result.outcomes)
    get_run_logger().info(
        "shard %d: split %d groups, %d failed, %d rows quarantined",
        shard.shard_index, len(result.groups), num_failed, len(result.quarantined),
    )  # fmt: skip
