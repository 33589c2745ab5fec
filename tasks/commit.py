"""The commit task: finished shards become visible to readers, all at once."""

from prefect import get_run_logger

from coupled_core.config import RunConfig
from coupled_core.dataset.commit import commit_shards
from coupled_core.dataset.near_backgrounds import compare_backgrounds
from coupled_core.dataset.parts import PublishedShard
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.dataset.work import WorkFolder
from coupled_core.planning import RunPlan
from coupled_core.run_facts import describe_inputs
from coupled_core.storage.store import open_store
from tasks.policy import stage_task


@stage_task("commit")
def commit(config: RunConfig, plan: RunPlan) -> Snapshot | None:
    """Commit every finished shard of a run; None: the dataset holds all of it already."""
    store = open_store(config.output.uri)
    done = (WorkFolder(store, plan.run_id, shard.shard_index).read_done() for shard in plan.shards)
    snapshot = commit_shards(
        store,
        [PublishedShard.model_validate(value) for value in done if value is not None],
        describe_inputs(config, plan),
        single_writer=config.output.single_writer,
    )
    get_run_logger().info("snapshot %s", snapshot.snapshot_id if snapshot else "unchanged")
    if snapshot is not None and (near := compare_backgrounds(store, snapshot)):
        get_run_logger().warning(
            "%d backgrounds are in another split than one that differs by a word or two, such as "
            "%r (%s) and %r (%s): perhaps a leak; `coupled verify` names all",
            len(near), near[0].other, near[0].other_split, near[0].background, near[0].split,
        )  # fmt: skip
    return snapshot
