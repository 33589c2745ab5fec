"""What the stages of a shard have in common: where its work lies and which samples it has."""

from dataclasses import dataclass

from coupled_core.checkpoints.splits import SplitShard, read_split
from coupled_core.config import RunConfig
from coupled_core.dataset.rows import PlannedPair
from coupled_core.dataset.shard import ShardContent
from coupled_core.dataset.work import WorkFolder
from coupled_core.errors import StorageError
from coupled_core.planning import PairIds, RunPlan, SampleNames, ShardPlan, build_samples
from coupled_core.records import PromptGroup, Rejection, Sample
from coupled_core.storage.store import ObjectStore, open_store


@dataclass(frozen=True)
class ShardWork:
    """One shard of a run, opened for work."""

    plan: ShardPlan
    names: SampleNames
    store: ObjectStore
    folder: WorkFolder

    def samples(self) -> dict[str, Sample]:
        """Return what is to be generated, by key; the shard must have been split.

        Raises:
            StorageError: it was not.
        """
        return build_samples(self._split(), self.plan, self.names)[0]

    def content(self) -> ShardContent:
        """Return everything that becomes rows; the shard must have been split."""
        shard, index = self._split(), self.plan.shard_index
        samples, without_split = build_samples(shard, self.plan, self.names)
        pairs = {key: self._pairs_of(sample) for key, sample in samples.items()}
        reasons = {
            group.group_id: outcome
            for group, outcome in zip(shard.groups, shard.outcomes, strict=True)
            if isinstance(outcome, Rejection)
        }
        failed = [
            (pair, reasons[group.group_id])
            for group, seed, ids in without_split
            for pair in _planned_pairs(group, seed, ids, index)
        ]
        return ShardContent(index, samples, pairs, failed, shard.quarantined)

    def _split(self) -> SplitShard:
        shard = read_split(self.folder)
        if shard is None:
            raise StorageError(f"{self.folder.prefix}split.json is gone: run the command again")
        return shard

    def _pairs_of(self, sample: Sample) -> list[PlannedPair]:
        named = dict(self.names.list_samples(sample.group))
        return _planned_pairs(sample.group, sample.seed, named[sample.seed], self.plan.shard_index)


def open_shard(config: RunConfig, plan: ShardPlan, names: SampleNames) -> ShardWork:
    """Open the work of a shard; no request is made."""
    store = open_store(config.output.uri)
    return ShardWork(plan, names, store, WorkFolder(store, plan.run_id, plan.shard_index))


def shards_to_split(config: RunConfig, plan: RunPlan) -> list[ShardPlan]:
    """Return the open shards of a run that no earlier attempt has split, from one listing."""
    keys = (info.key for info in open_store(config.output.uri).list(f"work/{plan.run_id}/"))
    split = {int(key.split("/")[2]) for key in keys if key.endswith("/split.json")}
    return [shard for shard in plan.open_shards if shard.shard_index not in split]


def _planned_pairs(
    group: PromptGroup, seed: int, ids: PairIds, shard_index: int
) -> list[PlannedPair]:
    return [PlannedPair(pair_id, group, pair, seed, shard_index) for pair, pair_id in ids.items()]
