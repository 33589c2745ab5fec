"""What a build would do and cost, from one look at everything and without writing anything."""

from dataclasses import dataclass, field

import pyarrow.compute as pc

from coupled_core.config import RunConfig, SplitConfig
from coupled_core.dataset.reader import current_snapshot, iter_manifest
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.errors import LlmError
from coupled_core.generation.provenance import GenerationProvenance
from coupled_core.id_set import IdSet
from coupled_core.llm.answers import answered_id, list_answered
from coupled_core.llm.client import Api, has_key
from coupled_core.llm.estimate import Scale, Tokens
from coupled_core.llm.spending import cost_usd, price_of
from coupled_core.records import PromptGroup, Rejection
from coupled_core.reservoir import Reservoir
from coupled_core.runs.models import files_of, generation_of
from coupled_core.runs.needs import ImageTime, Needs, find_needs
from coupled_core.runs.plan import RunPlan, name_requests, plan_run
from coupled_core.runs.planned import PlannedGroup
from coupled_core.splitting.llm.estimate import count_sample, estimate_split
from coupled_core.splitting.offline import OfflineSplitter
from coupled_core.splitting.splitter import is_given, settle_split
from coupled_core.storage.open_store import open_store
from coupled_core.storage.store import ObjectStore

_TRIED_OFFLINE = 500


@dataclass(frozen=True)
class SplitForecast:
    """What is left to split, and for how much."""

    splitter: str
    """Name and version."""
    is_paid: bool
    """A language model is asked."""
    groups_given: int
    """Groups whose split the prompt set brings along."""
    groups_cached: int
    """Groups whose answer is in the cache."""
    groups_to_ask: int
    input_tokens: int = 0
    """Estimate for all groups to ask."""
    output_tokens: int = 0
    tokens_counted_on_groups: int = 0
    """Groups whose input the API counted; the estimate is scaled to them. 0: it was not asked."""
    input_tokens_margin: float = 0.0
    """Half the 95% interval of input_tokens, as a share of them, that the sample leaves."""
    count_problem: str = ""
    """Why the API did not count."""
    usd_online: float = 0.0
    usd_batch: float = 0.0
    groups_tried_offline: int = 0
    """The first groups, where the offline splitter is used."""
    groups_failed_offline: int = 0
    """How many of those it cannot split."""

    @property
    def cached_share(self) -> float:
        """Share of the groups without a given split that need no request, [0, 1]."""
        return self.groups_cached / max(self.groups_cached + self.groups_to_ask, 1)


@dataclass
class SplitCounter:
    """Counts groups one by one; holds none of them."""

    config: SplitConfig
    cached: IdSet
    sample: Reservoir[PromptGroup]
    """Some of the groups to ask, for the API to count."""
    must_count: bool = False
    """An API that does not count is an error; else the plain estimate has to do."""
    groups_done: int = 0
    """Groups whose pairs are all in the dataset."""
    images_to_make: int = 0
    """Images of groups that the dataset lacks, first attempts alone."""
    _given: int = 0
    _cached: int = 0
    _asked: int = 0
    _tokens: Tokens = field(default_factory=Tokens)
    _offline: OfflineSplitter | None = None
    _tried: int = 0
    _failed: int = 0

    def count(self, planned: PlannedGroup, is_done: bool, is_refused: bool = False) -> None:
        """Count a group; nobody splits one that the dataset holds, or that is refused."""
        group = planned.group
        if is_done:
            self.groups_done += 1
        if is_done or is_refused:
            return
        self.images_to_make += len(group.prompts) * len(planned.samples)
        if is_given(group):
            self._given += 1
        elif self.config.splitter != "anthropic":
            self._count_unpaid(group)
        elif self._is_cached(planned.request_sha256):
            self._cached += 1
        else:
            self._asked += 1
            self._tokens += estimate_split(group)
            self.sample.add(group)

    def forecast(self) -> SplitForecast:
        """Return the totals so far.

        Raises:
            ConfigError: the model has no price, or there is no key to count with.
            LlmError: the API does not count.
        """
        identity, _ = name_requests(self.config)
        if self.config.splitter != "anthropic":
            return SplitForecast(
                identity,
                False,
                groups_given=self._given,
                groups_cached=0,
                groups_to_ask=self._asked,
                groups_tried_offline=self._tried,
                groups_failed_offline=self._failed,
            )
        return self._forecast_paid(identity)

    def _forecast_paid(self, identity: str) -> SplitForecast:
        price = price_of(self.config)
        scale, problem = self._count_sample()
        # Estimated from characters for every group, then scaled by what the API counted for some.
        input_tokens = round(scale.ratio * self._tokens.input)
        # Output cannot be counted beforehand. It repeats words of the input, so it is scaled
        # likewise.
        output_tokens = round(scale.ratio * self._tokens.output)

        def price_tokens(*, is_batch: bool) -> float:
            return cost_usd(
                price, input_tokens=input_tokens, output_tokens=output_tokens, is_batch=is_batch
            )

        return SplitForecast(
            identity,
            True,
            groups_given=self._given,
            groups_cached=self._cached,
            groups_to_ask=self._asked,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            tokens_counted_on_groups=scale.num_counted,
            input_tokens_margin=scale.half_width,
            count_problem=problem,
            usd_online=price_tokens(is_batch=False),
            usd_batch=price_tokens(is_batch=True),
        )

    def _count_sample(self) -> tuple[Scale, str]:
        """Return what the API says of the sample, or why it says nothing."""
        if not self.sample.items or not self.sample.size:
            return Scale(), ""
        try:
            with Api() as api:
                return count_sample(api, self.config, self.sample), ""
        except LlmError as error:
            if self.must_count:
                raise
            return Scale(), str(error)

    def _is_cached(self, request_sha256: str) -> bool:
        # With `refresh` each group is asked about again, whatever is stored.
        if not len(self.cached) or self.config.refresh:
            return False
        return answered_id(request_sha256) in self.cached

    def _count_unpaid(self, group: PromptGroup) -> None:
        self._asked += 1
        if self.config.splitter == "offline" and self._tried < _TRIED_OFFLINE:
            self._offline = self._offline or OfflineSplitter()
            self._tried += 1
            self._failed += isinstance(self._offline.split([group])[0], Rejection)


_SAME_IMAGES = ("base_model", "num_inference_steps", "width", "height", "dtype", "device_name")
"""What, beside `weights`, the time of a pair depends on."""
_TIMED_PARTS = 20
_COUNTED_BY_DEFAULT = 64
"""Groups whose tokens the API counts: that is free, takes seconds, and errs by a per cent or so."""


@dataclass(frozen=True)
class Forecast:
    """What a build would do."""

    run: RunPlan
    splits: SplitForecast
    """The splits of groups that the dataset does not hold."""
    groups_done: int
    """Groups whose pairs are all in the dataset."""
    attempts: int
    """Most seeds to try in the place of each requested one: a pair costs up to so many times."""
    seconds_a_pair: float | None
    """What generation took for pairs of the dataset with these settings; None: there are none."""
    images_to_make: int
    """Images of groups that the dataset lacks; each is drawn once, however many pairs it is in."""
    needs: Needs
    """What all this takes of the machine."""

    @property
    def pairs_to_make(self) -> int:
        """Pairs that the dataset does not hold; part of them may wait in finished shards."""
        return self.run.num_pairs - self.run.num_pairs_done

    @property
    def gpu_seconds(self) -> float | None:
        """What first attempts in shards that still need work will take; None: unknown."""
        num_pairs = sum(shard.num_pairs for shard in self.run.open_shards)
        return None if self.seconds_a_pair is None else num_pairs * self.seconds_a_pair

    @property
    def time(self) -> ImageTime | None:
        """What first attempts will take, from and to, and where that is known from; None: nowhere.

        What pairs of this dataset took counts more than what was computed.
        """
        if self.gpu_seconds is not None:
            source = f"{self.seconds_a_pair:.2f} s a pair, as measured"
            return ImageTime((self.gpu_seconds, self.gpu_seconds), source)
        an_image = self.needs.image_time
        if an_image is None:
            return None
        least, most = an_image.seconds
        return ImageTime((least * self.images_to_make, most * self.images_to_make), an_image.source)

    @property
    def gpu_seconds_at_most(self) -> float | None:
        """What all attempts would take if no group stopped early; None: unknown."""
        return None if self.gpu_seconds is None else self.gpu_seconds * self.attempts


def forecast_build(config: RunConfig, num_counted: int | None = 0) -> Forecast:
    """Plan a build without writing anything, in bounded memory.

    Args:
        config: All settings; who splits may still be open.
        num_counted: Groups whose tokens the API itself counts, for free. None: some, where its key
            is set and it answers.

    Raises:
        CoupledError: what would stop the build, too, before it spends anything.
    """
    config = settle_split(config)
    generation = generation_of(config.generation)
    counter = _open_counter(config, num_counted)
    # The plan of a build itself, so that both refuse the same things and count the same pairs.
    run = plan_run(config, generation, is_dry_run=True, watch=counter.count)
    store = open_store(config.output.uri)
    seconds = _measure_pair(store, current_snapshot(store), generation)
    files = files_of(config.generation.base_model, generation.base_model_revision)
    return Forecast(
        run,
        counter.forecast(),
        counter.groups_done,
        config.selection.attempts,
        seconds,
        counter.images_to_make,
        find_needs(config, generation, files),
    )


def _open_counter(config: RunConfig, num_counted: int | None) -> SplitCounter:
    split = config.split
    if split.splitter != "anthropic" or split.cache_uri is None:
        return SplitCounter(split, IdSet(), Reservoir(0))
    by_default = _COUNTED_BY_DEFAULT if has_key() else 0
    return SplitCounter(
        split,
        list_answered(open_store(split.cache_uri)) or IdSet(),
        Reservoir(by_default if num_counted is None else num_counted),
        must_count=num_counted is not None,
    )


def _measure_pair(
    store: ObjectStore, snapshot: Snapshot | None, generation: GenerationProvenance
) -> float | None:
    """Return the mean seconds that pairs made in the same way took, from the newest parts."""
    parts = snapshot.parts_of("manifest")[-_TIMED_PARTS:] if snapshot else ()
    total, count = 0.0, 0
    for batch in iter_manifest(store, parts, [*_SAME_IMAGES, "weights", "gpu_seconds"]):
        same = pc.is_valid(batch.column("gpu_seconds"))
        # Null there: the base model's own.
        weights = pc.fill_null(batch.column("weights"), "")
        same = pc.and_(same, pc.equal(weights, generation.weights))
        for name in _SAME_IMAGES:
            # A null is equal to nothing, and would make the filter null as well.
            equal = pc.equal(batch.column(name), getattr(generation, name))
            same = pc.and_(same, pc.fill_null(equal, False))
        seconds = batch.column("gpu_seconds").filter(same)
        total, count = total + (pc.sum(seconds).as_py() or 0.0), count + len(seconds)
    return total / count if count else None
