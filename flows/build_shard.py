"""One shard from prompts to dataset parts: the stages in order.

Every stage keeps its finished batches in the dataset's work folder and passes over those that it
finds there. So a shard that was killed goes on where it stopped, wherever it is started again. Its
lease keeps others off meanwhile, and is looked at before each batch. No image travels through
Prefect.
"""

from coupled_core.config import RunConfig
from coupled_core.runs.division import Elsewhere, hold_shard
from coupled_core.runs.models import generation_of
from coupled_core.runs.plan import ShardPlan
from coupled_core.runs.shard import ShardWork
from coupled_core.runs.steps import ShardResult, filter_pairs, make_pairs, split, write
from tasks.policy import stage_task


@stage_task("build-shard", run_name="shard {shard.shard_index:05d}")
def build_shard(config: RunConfig, shard: ShardPlan) -> ShardResult | Elsewhere:
    """Build one shard, a single task; readers see it after the commit of `build_dataset`.

    Args:
        config: All settings of the run.
        shard: Which rows of the prompt set, and what of them is new.

    Raises:
        LeaseLostError: this process was paused for so long that another one goes on with the shard.
    """
    work = ShardWork(config, shard, generation_of(config.generation))
    with hold_shard(work) as elsewhere:
        if elsewhere is not None:  # another process builds it, or has built it
            return elsewhere
        split(work)  # prompts -> background, entities, edit instructions
        for attempt in range(1, config.selection.attempts + 1):
            # groups, later only those that lack kept pairs -> images that share a background
            # -> entity masks, metrics of every pair
            if not make_pairs(work, attempt):
                break
        filter_pairs(work)  # metrics -> kept or dropped, with reasons
        return write(work)  # all of it -> immutable, verified parts
