"""The split tasks: background and entities of every group, of a run and of a shard."""

from collections.abc import Iterator

from prefect import get_run_logger

from coupled_core.config import RunConfig
from coupled_core.planning import RunPlan, ShardPlan
from coupled_core.records import PromptGroup, QuarantinedRow, Rejection
from coupled_core.shard_work import shards_to_split
from coupled_core.splitting.refusal import refusal_of
from coupled_core.splitting.settle import account_of
from coupled_core.splitting.shard import split_shard
from tasks.models import prompts_of, splitter_for
from tasks.policy import stage_task
from tasks.shards import work_of


@stage_task("prepare-splits")
def prepare_splits(config: RunConfig, plan: RunPlan) -> None:
    """Let the splitter ask about all groups at once; the shards find its answers."""
    shards = shards_to_split(config, plan)
    if not shards:
        return

    def read_groups() -> Iterator[PromptGroup]:
        for shard in shards:
            items = prompts_of(config.prompts).read(shard.first_item, shard.num_items)
            groups = (item for item in items if isinstance(item, PromptGroup))
            yield from (group for group in groups if refuse(group) is None)

    refuse = refusal_of(config.content_filter)
    splitter = splitter_for(config.split, account_of(config, plan.run_id))
    splitter.prepare(read_groups, sum(shard.num_items for shard in shards))
    get_run_logger().info("%s: ready for %d shards", splitter.identity, len(shards))


@stage_task("split")
def split(config: RunConfig, shard: ShardPlan) -> None:
    """Split the groups of a shard."""
    items = prompts_of(config.prompts).read(shard.first_item, shard.num_items)
    result = split_shard(
        [item for item in items if isinstance(item, PromptGroup)],
        [item for item in items if isinstance(item, QuarantinedRow)],
        splitter_for(config.split, account_of(config, shard.run_id)),
        work_of(config, shard).folder,
        refusal_of(config.content_filter),
    )
    num_failed = sum(isinstance(outcome, Rejection) for outcome in result.outcomes)
    get_run_logger().info(
        "shard %d: split %d groups, %d failed, %d rows quarantined",
        shard.shard_index, len(result.groups), num_failed, len(result.quarantined),
    )  # fmt: skip
