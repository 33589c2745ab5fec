"""What a build would do and cost, from one look at everything and without writing anything."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow.compute as pc

from coupled_core.config import RunConfig, SplitConfig
from coupled_core.dataset.pair_ids import PairIdSet
from coupled_core.dataset.reader import committed_pair_ids, current_snapshot, iter_manifest
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.generation.provenance import GenerationProvenance, resolve_generation
from coupled_core.planning import PromptItem, RunPlan, SampleNames, name_samples, plan_run
from coupled_core.progress import current_progress
from coupled_core.prompts.prompt_set import check_prompt_set, read_prompt_set
from coupled_core.records import PromptGroup
from coupled_core.run_facts import refuse_other_scores
from coupled_core.scoring.model_files import require_scorers
from coupled_core.split_forecast import (
    SplitCounter,
    SplitForecast,
    list_cached,
    name_requests,
)
from coupled_core.splitting.llm.counted import Sample
from coupled_core.splitting.settle import settle_split
from coupled_core.splitting.splitter import choose_splitter
from coupled_core.storage.store import ObjectStore, open_store

_SAME_IMAGES = ("base_model", "num_inference_steps", "width", "height", "dtype", "device_name")
"""What the time of a pair depends on."""
_TIMED_PARTS = 20
_PROGRESS_EVERY = 1000
_COUNTED_BY_DEFAULT = 64
"""By the API, of groups to ask: free, seconds, and the total within a per cent or so."""


@dataclass(frozen=True)
class Forecast:
    """What a build would do."""

    run: RunPlan
    splits: SplitForecast
    """Of the groups that the dataset does not hold."""
    groups_done: int
    """Groups whose pairs are all in the dataset."""
    attempts: int
    """Most seeds to try in the place of each requested one: a pair costs up to so many times."""
    seconds_a_pair: float | None
    """Of generation, as pairs of the dataset with the same settings took; None: there are none."""

    @property
    def pairs_to_make(self) -> int:
        """Pairs that the dataset does not hold; part of them may wait in finished shards."""
        return self.run.num_pairs - self.run.num_pairs_done

    @property
    def gpu_seconds(self) -> float | None:
        """Of first attempts in shards that still need work; None: unknown."""
        num_pairs = sum(shard.num_pairs for shard in self.run.open_shards)
        return None if self.seconds_a_pair is None else num_pairs * self.seconds_a_pair

    @property
    def gpu_seconds_at_most(self) -> float | None:
        """Of all attempts, if no group stops early; None: unknown."""
        return None if self.gpu_seconds is None else self.gpu_seconds * self.attempts


def forecast_build(config: RunConfig, num_counted: int | None = 0) -> Forecast:
    """Plan a build in two passes over the prompt set, in bounded memory.

    Args:
        config: All settings; who splits may still be open.
        num_counted: Groups whose tokens the API itself counts, for free. None: some, where its key
            is set and it answers.

    Raises:
        CoupledError: what would stop the build, too, before it spends anything.
    """
    config = settle_split(config)
    prompt_set = check_prompt_set(config.prompts)
    store = open_store(config.output.uri)
    snapshot = current_snapshot(store)
    refuse_other_scores(config, snapshot, store.uri)
    generation = resolve_generation(config.generation)
    identity, request_of = name_requests(config.split)
    committed = committed_pair_ids(store, snapshot)
    counter = _open_counter(config, num_counted)
    watch = _Watch(counter, name_samples(config, generation, request_of), committed)
    current_progress().begin("groups", prompt_set.num_groups)
    run = plan_run(
        config,
        watch.each(read_prompt_set(config.prompts)),
        prompt_set,
        generation,
        split_request=request_of,
        splitter_identity=identity,
        committed=committed,
        store=store,
    )
    if run.open_shards:
        require_scorers(config.scoring)
    seconds = _measure_pair(store, snapshot, generation)
    attempts = config.selection.attempts
    return Forecast(run, counter.forecast(), watch.groups_done, attempts, seconds)


class _Watch:
    """Looks at items as they pass."""

    def __init__(self, counter: SplitCounter, names: SampleNames, committed: PairIdSet) -> None:
        self._counter, self._names, self._committed = counter, names, committed
        self.groups_done = 0

    def each(self, items: Iterable[PromptItem]) -> Iterator[PromptItem]:
        """Yield the items on, counted."""
        for number, item in enumerate(items, start=1):
            if isinstance(item, PromptGroup):
                self._count(item)
            if number % _PROGRESS_EVERY == 0:
                current_progress().advance("groups", _PROGRESS_EVERY)
            yield item

    def _count(self, group: PromptGroup) -> None:
        if self._is_done(group):
            self.groups_done += 1
        else:
            self._counter.count(group)

    def _is_done(self, group: PromptGroup) -> bool:
        if not len(self._committed):
            return False
        ids = [i for _, ids in self._names.list_samples(group) for i in ids.values()]
        return bool(self._committed.contains(ids).all())


def _open_counter(config: RunConfig, num_counted: int | None) -> SplitCounter:
    split = config.split
    if split.splitter == "offline" or split.cache_uri is None:
        return SplitCounter(split, PairIdSet(), Sample(0))
    by_default = _COUNTED_BY_DEFAULT if choose_splitter(SplitConfig()) == "anthropic" else 0
    return SplitCounter(
        split,
        list_cached(open_store(split.cache_uri)),
        Sample(by_default if num_counted is None else num_counted),
        must_count=num_counted is not None,
    )


def _measure_pair(
    store: ObjectStore, snapshot: Snapshot | None, generation: GenerationProvenance
) -> float | None:
    """Return the mean seconds that pairs made in the same way took, from the newest parts."""
    parts = snapshot.parts_of("manifest")[-_TIMED_PARTS:] if snapshot else ()
    total, count = 0.0, 0
    for batch in iter_manifest(store, parts, [*_SAME_IMAGES, "gpu_seconds"]):
        same = pc.is_valid(batch.column("gpu_seconds"))
        for name in _SAME_IMAGES:
            equal = pc.equal(batch.column(name), getattr(generation, name))
            same = pc.and_(same, pc.fill_null(equal, False))
        seconds = batch.column("gpu_seconds").filter(same)
        total, count = total + (pc.sum(seconds).as_py() or 0.0), count + len(seconds)
    return total / count if count else None
