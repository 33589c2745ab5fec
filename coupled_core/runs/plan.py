"""What a run has to do: shards as offsets into the prompt set, less what the dataset holds."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations, islice

from coupled_core.config import RunConfig
from coupled_core.generation.provenance import GenerationProvenance
from coupled_core.id_set import IdSet
from coupled_core.prompts.prompt_set import PromptFileSummary, PromptSetSummary
from coupled_core.records import GroupSplit, PromptGroup, QuarantinedRow, Sample
from coupled_core.runs.checkpoints.splits import SplitShard
from coupled_core.runs.identity import (
    attempt_seed,
    generation_fingerprint,
    pair_id,
    quarantined_id,
    run_id,
    sample_seed,
)
from coupled_core.storage.store import ObjectStore

PromptItem = PromptGroup | QuarantinedRow
PairIds = Mapping[tuple[int, int], str]
"""By pair of image indices (i, j), i < j."""


@dataclass(frozen=True)
class ShardPlan:
    """One shard of a run, small enough to be a parameter of a flow."""

    run_id: str
    shard_index: int
    first_item: int
    """Rows of the prompt set, groups and quarantined ones, before this shard."""
    num_items: int
    num_pairs: int
    """Pairs to make."""
    done_samples: tuple[int, ...] = ()
    """Samples that the dataset already holds, by position: group by group, seed by seed."""


@dataclass(frozen=True)
class RunPlan:
    """All that a run has to do."""

    run_id: str
    generation: GenerationProvenance
    inputs: tuple[PromptFileSummary, ...]
    shards: tuple[ShardPlan, ...]
    """Shards with at least one new row, in order."""
    finished_shards: frozenset[int]
    """Of those the ones that an earlier attempt finished; they only wait for the commit."""
    num_groups: int
    num_quarantined: int
    num_pairs: int
    """Pairs of the whole prompt set."""
    num_pairs_done: int
    """Of those in the dataset already."""

    @property
    def open_shards(self) -> list[ShardPlan]:
        """Shards that still need work."""
        return [shard for shard in self.shards if shard.shard_index not in self.finished_shards]


@dataclass(frozen=True)
class SampleNames:
    """Gives every pair its id before anything is split or generated."""

    run_seed: int
    generation_fingerprint: str
    split_request: Callable[[PromptGroup], str]
    """Hash of what a splitter is asked about a group."""

    def list_samples(self, group: PromptGroup) -> list[tuple[int, PairIds]]:
        """Return seed and pair ids of each sample of a group."""
        request = self.split_request(group)
        seeds = [
            sample_seed(self.run_seed, group.group_id, group.seed, index)
            for index in range(group.num_seeds)
        ]
        return [(seed, self._pair_ids(group, seed, request)) for seed in seeds]

    def pair_ids(self, group: PromptGroup, seed: int) -> PairIds:
        """Return the pair ids of the sample of a group with any seed."""
        return self._pair_ids(group, seed, self.split_request(group))

    def _pair_ids(self, group: PromptGroup, seed: int, request: str) -> PairIds:
        return {
            (i, j): pair_id(
                group_id=group.group_id,
                prompts=(group.prompts[i], group.prompts[j]),
                image_indices=(i, j),
                split_request_sha256=request,
                seed=seed,
                generation_fingerprint=self.generation_fingerprint,
            )
            for i, j in combinations(range(len(group.prompts)), 2)
        }


def name_samples(
    config: RunConfig, generation: GenerationProvenance, split_request: Callable[[PromptGroup], str]
) -> SampleNames:
    """Return the names that a run gives."""
    return SampleNames(
        config.generation.seed, generation_fingerprint(asdict(generation)), split_request
    )


def plan_run(
    config: RunConfig,
    items: Iterable[PromptItem],
    prompt_set: PromptSetSummary,
    generation: GenerationProvenance,
    *,
    split_request: Callable[[PromptGroup], str],
    splitter_identity: str,
    committed: IdSet,
    store: ObjectStore,
) -> RunPlan:
    """Plan a run in one pass over the prompt set, holding one shard's items at a time.

    Args:
        config: All settings.
        items: The prompt set, in order.
        prompt_set: Its summary.
        generation: The settings of generation after defaults are filled in.
        split_request: Hash of what the splitter is asked about a group.
        splitter_identity: Names the splitter and its version.
        committed: Pairs of the current snapshot.
        store: The dataset, where finished shards of earlier attempts lie.
    """
    names = name_samples(config, generation, split_request)
    # A path may hold another schedule tomorrow: what settings resolve to names the run, too.
    resolved = [names.generation_fingerprint, splitter_identity]
    name = run_id(config, [*(file.etag for file in prompt_set.files), *resolved])
    shards, num_pairs, num_open = [], 0, 0
    for plan, shard_pairs in _plan_shards(name, items, config.output.shard_size, names, committed):
        num_pairs += shard_pairs
        if plan is not None:
            shards.append(plan)
            num_open += plan.num_pairs
    return RunPlan(
        run_id=name,
        generation=generation,
        inputs=prompt_set.files,
        shards=tuple(shards),
        finished_shards=_find_finished(store, name) if shards else frozenset(),
        num_groups=prompt_set.num_groups,
        num_quarantined=prompt_set.num_quarantined,
        num_pairs=num_pairs,
        num_pairs_done=num_pairs - num_open,
    )


def build_samples(
    shard: SplitShard, plan: ShardPlan, names: SampleNames
) -> tuple[dict[str, Sample], list[tuple[PromptGroup, int, PairIds]]]:
    """Return the samples to generate by key, and those that have no split (group, seed, pair ids).

    A sample's key is the id of its first pair, which covers everything its images depend on.
    """
    samples: dict[str, Sample] = {}
    without_split: list[tuple[PromptGroup, int, PairIds]] = []
    position, done = 0, frozenset(plan.done_samples)
    for group, outcome in zip(shard.groups, shard.outcomes, strict=True):
        for seed, ids in names.list_samples(group):
            if position not in done and isinstance(outcome, GroupSplit):
                samples[ids[0, 1]] = Sample(group, seed, outcome)
            elif position not in done:
                without_split.append((group, seed, ids))
            position += 1
    return samples, without_split


def try_again(samples: Iterable[Sample], attempt: int, names: SampleNames) -> dict[str, Sample]:
    """Return another attempt of samples with requested seeds, by key."""
    again = [replace(s, seed=attempt_seed(s.seed, attempt), attempt=attempt) for s in samples]
    return {names.pair_ids(sample.group, sample.seed)[0, 1]: sample for sample in again}


def _plan_shards(
    name: str, items: Iterable[PromptItem], size: int, names: SampleNames, committed: IdSet
) -> Iterator[tuple[ShardPlan | None, int]]:
    """Yield for every shard its plan (None: nothing new in it) and the number of all its pairs."""
    rest = iter(items)
    shard_index = 0
    while shard := list(islice(rest, size)):
        yield _plan_shard(name, shard_index, shard_index * size, shard, names, committed)
        shard_index += 1


def _plan_shard(
    name: str,
    shard_index: int,
    first_item: int,
    items: Sequence[PromptItem],
    names: SampleNames,
    committed: IdSet,
) -> tuple[ShardPlan | None, int]:
    groups = [item for item in items if isinstance(item, PromptGroup)]
    sizes = [len(g.prompts) * (len(g.prompts) - 1) // 2 for g in groups for _ in range(g.num_seeds)]
    num_pairs, is_new = sum(sizes), True
    done: tuple[int, ...] = ()
    if len(committed):
        done = _find_done([s for g in groups for s in names.list_samples(g)], committed)
        bad_rows = [_row_id(item) for item in items if isinstance(item, QuarantinedRow)]
        is_new = len(done) < len(sizes) or not all(committed.contains(bad_rows))
    open_pairs = num_pairs - sum(sizes[position] for position in done)
    plan = ShardPlan(name, shard_index, first_item, len(items), open_pairs, done)
    return (plan if is_new else None), num_pairs


def _find_done(samples: Sequence[tuple[int, PairIds]], committed: IdSet) -> tuple[int, ...]:
    return tuple(
        position
        for position, (_, ids) in enumerate(samples)
        if committed.contains(list(ids.values())).all()
    )


def _row_id(row: QuarantinedRow) -> str:
    return quarantined_id(
        source_file=row.source_file, source_row=row.source_row, message=row.message
    )


def _find_finished(store: ObjectStore, name: str) -> frozenset[int]:
    """Return the shards of a run that are marked done, from one listing."""
    keys = (info.key for info in store.list(f"work/{name}/"))
    return frozenset(int(key.split("/")[2]) for key in keys if key.endswith("/done.json"))
