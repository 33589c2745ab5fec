"""What the splits of a prompt set will need: how many are given or cached, tokens and price.

The settings must be settled: they name a splitter, not "auto".
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from coupled_core.config import SplitConfig
from coupled_core.dataset.pair_ids import PairIdSet
from coupled_core.records import PromptGroup, Rejection
from coupled_core.splitting.llm.estimate import TokenEstimator, Tokens
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
    estimator: TokenEstimator
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
            self._tokens += self.estimator.estimate(group)

    def forecast(self) -> SplitForecast:
        """Return the totals so far.

        Raises:
            ConfigError: the model has no price.
        """
        identity, _ = name_requests(self.config)
        counts = {"groups_given": self._given, "groups_to_ask": self._asked}
        if self.config.splitter == "offline":
            tried = {"groups_tried_offline": self._tried, "groups_failed_offline": self._failed}
            return SplitForecast(identity, False, groups_cached=0, **counts, **tried)
        tokens = {"input_tokens": round(self._tokens.input)}
        tokens["output_tokens"] = round(self._tokens.output)
        price = price_of(self.config)
        return SplitForecast(
            identity,
            True,
            groups_cached=self._cached,
            **counts,
            **tokens,
            usd_online=cost_usd(price, **tokens, is_batch=False),
            usd_batch=cost_usd(price, **tokens, is_batch=True),
        )

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
