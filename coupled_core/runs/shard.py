"""What the stages of a shard have in common: where its work lies and which samples it has."""

from dataclasses import dataclass, replace

from coupled_core.config import RunConfig
from coupled_core.dataset.rows import PlannedPair
from coupled_core.dataset.work import WorkFolder
from coupled_core.errors import StorageError
from coupled_core.records import PromptGroup, Rejection, Sample
from coupled_core.runs.checkpoints.splits import SplitShard, read_split
from coupled_core.runs.filter_stage import NO_VERDICTS, groups_to_try_again, judge_attempt
from coupled_core.runs.plan import (
    PairIds,
    RunPlan,
    SampleNames,
    ShardPlan,
    build_samples,
    try_again,
)
from coupled_core.runs.write_stage import ShardContent
from coupled_core.storage.store import ObjectStore, open_store


@dataclass(frozen=True)
class ShardWork:
    """One shard of a run, opened for work."""

    config: RunConfig
    plan: ShardPlan
    names: SampleNames
    store: ObjectStore
    folder: WorkFolder

    def samples(self, last_attempt: int | None = None) -> dict[str, Sample]:
        """Return what is to be generated, by key, attempt by attempt.

        Args:
            last_attempt: The last that is asked for, all before it scored; None: all that follow
                from the scores, all of them scored.

        Raises:
            StorageError: the shard was not split, or an attempt was not scored.
        """
        return self._with_later_attempts(
            build_samples(self._split(), self.plan, self.names)[0], last_attempt
        )

    def content(self) -> ShardContent:
        """Return everything that becomes rows; the shard must have been split."""
        shard, index = self._split(), self.plan.shard_index
        first, without_split = build_samples(shard, self.plan, self.names)
        samples = self._with_later_attempts(first)
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
        group, seed, index = sample.group, sample.seed, self.plan.shard_index
        ids = self.names.pair_ids(group, seed)
        return [
            replace(pair, attempt=sample.attempt)
            for pair in _planned_pairs(group, seed, ids, index)
        ]

    def _with_later_attempts(
        self, first: dict[str, Sample], last_attempt: int | None = None
    ) -> dict[str, Sample]:
        """Add the attempts that groups need whose quota is not met by those before."""
        selection, batch_size = self.config.selection, self.config.generation.batch_size
        samples, verdicts = dict(first), NO_VERDICTS
        for attempt in range(1, last_attempt or selection.attempts):
            verdicts += judge_attempt(
                samples, self.folder, self.config.filter, batch_size=batch_size, attempt=attempt
            )
            again = groups_to_try_again(first, verdicts, selection)
            unmet = (sample for sample in first.values() if sample.group.group_id in again)
            samples |= try_again(unmet, attempt + 1, self.names)
        return samples


def open_shard(config: RunConfig, plan: ShardPlan, names: SampleNames) -> ShardWork:
    """Open the work of a shard; no request is made."""
    store = open_store(config.output.uri)
    return ShardWork(config, plan, names, store, WorkFolder(store, plan.run_id, plan.shard_index))


def shards_to_split(config: RunConfig, plan: RunPlan) -> list[ShardPlan]:
    """Return the open shards of a run that no earlier attempt has split, from one listing."""
    keys = (info.key for info in open_store(config.output.uri).list(f"work/{plan.run_id}/"))
    split = {int(key.split("/")[2]) for key in keys if key.endswith("/split.json")}
    return [shard for shard in plan.open_shards if shard.shard_index not in split]


def _planned_pairs(
    group: PromptGroup, seed: int, ids: PairIds, shard_index: int
) -> list[PlannedPair]:
    return [PlannedPair(pair_id, group, pair, seed, shard_index) for pair, pair_id in ids.items()]
