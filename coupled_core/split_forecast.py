"""What the splits of a prompt set will need: how many are given or cached, tokens and price.

The settings must be settled: they name a splitter, not "auto".
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from coupled_core.config import SplitConfig
from coupled_core.dataset.pair_ids import PairIdSet
from coupled_core.errors import LlmError
from coupled_core.records import PromptGroup, Rejection
from coupled_core.splitting.llm.client import open_client
from coupled_core.splitting.llm.counted import Sample, Scale, count_sample
from coupled_core.splitting.llm.estimate import Tokens, estimate_split
from coupled_core.splitting.llm.prices import cost_usd, price_of
from coupled_core.splitting.llm.request import request_sha256, splitter_identity
from coupled_core.splitting.offline import OfflineSplitter
from coupled_core.splitting.splitter import GivenFirstSplitter
from coupled_core.storage.store import ObjectStore

_HASH_DIGITS = 32
"""Of a request hash that are kept in memory: two groups in 2**128 would be taken for one."""
_LISTED_AT_ONCE = 10_000
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
    """Of all groups to ask."""
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
    """Of those the ones it cannot split."""

    @property
    def cached_share(self) -> float:
        """Share of the groups without a given split that need no request, [0, 1]."""
        return self.groups_cached / max(self.groups_cached + self.groups_to_ask, 1)


def name_requests(config: SplitConfig) -> tuple[str, Callable[[PromptGroup], str]]:
    """Return the identity of the splitter and its request hashes; nobody's key is needed for it."""
    offline = GivenFirstSplitter(OfflineSplitter())
    if config.splitter == "offline":
        return offline.identity, offline.request_sha256

    def request_of(group: PromptGroup) -> str:
        return offline.request_sha256(group) if is_given(group) else request_sha256(config, group)

    return splitter_identity(config), request_of


def is_given(group: PromptGroup) -> bool:
    """Say whether the prompt set brings the split of a group along."""
    return group.background_prompt is not None and group.entity_prompts is not None


def list_cached(store: ObjectStore) -> PairIdSet:
    """Return the request hashes that have an answer, 16 bytes each, from one listing."""
    hashes = (
        info.key.rpartition("/")[2].removesuffix(".json")
        for info in store.list("answers/")
        if info.key.endswith(".json") and not info.key.endswith(".repair.json")
    )
    return PairIdSet(_in_batches(hash_[:_HASH_DIGITS] for hash_ in hashes))


@dataclass
class SplitCounter:
    """Counts groups one by one; holds none of them."""

    config: SplitConfig
    cached: PairIdSet
    sample: Sample
    """Of the groups to ask."""
    must_count: bool = False
    """An API that does not count is an error; else the plain estimate has to do."""
    _given: int = 0
    _cached: int = 0
    _asked: int = 0
    _tokens: Tokens = field(default_factory=Tokens)
    _offline: OfflineSplitter | None = None
    _tried: int = 0
    _failed: int = 0

    def count(self, group: PromptGroup) -> None:
        """Count a group that is not in the dataset yet."""
        if is_given(group):
            self._given += 1
        elif self.config.splitter == "offline":
            self._count_offline(group)
        elif self._is_cached(group):
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
        if self.config.splitter == "offline":
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
        input_tokens = round(scale.ratio * self._tokens.input)
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
        if not self.sample.groups or not self.sample.size:
            return Scale(), ""
        try:
            with open_client() as client:
                return count_sample(client, self.config, self.sample), ""
        except LlmError as error:
            if self.must_count:
                raise
            return Scale(), str(error)

    def _is_cached(self, group: PromptGroup) -> bool:
        if not len(self.cached) or self.config.refresh:
            return False
        return request_sha256(self.config, group)[:_HASH_DIGITS] in self.cached

    def _count_offline(self, group: PromptGroup) -> None:
        self._asked += 1
        if self._tried < _TRIED_OFFLINE:
            self._offline = self._offline or OfflineSplitter()
            self._tried += 1
            self._failed += isinstance(self._offline.split([group])[0], Rejection)


def _in_batches(hashes: Iterator[str]) -> Iterator[list[str]]:
    while batch := list(islice(hashes, _LISTED_AT_ONCE)):
        yield batch
