"""Opens the work of a shard with the models' and splitters' names of this process."""

from coupled_core.config import RunConfig
from coupled_core.planning import SampleNames, ShardPlan, name_samples
from coupled_core.shard_work import ShardWork, open_shard
from tasks.models import generation_of, splitter_for


def names_of(config: RunConfig) -> SampleNames:
    """Return how the pairs of a run are named."""
    splitter = splitter_for(config.split)
    return name_samples(config, generation_of(config.generation), splitter.request_sha256)


def work_of(config: RunConfig, shard: ShardPlan) -> ShardWork:
    """Return the work of one shard."""
    return open_shard(config, shard, names_of(config))
