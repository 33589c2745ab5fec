"""The splitter that asks a language model, over whichever transport suits the size of the set."""

import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from coupled_core.config import SplitConfig
from coupled_core.progress import current_progress
from coupled_core.records import GroupSplit, PromptGroup, Rejection
from coupled_core.splitting.llm.batch_creation import Patience
from coupled_core.splitting.llm.batch_queue import BatchQueue
from coupled_core.splitting.llm.batch_record import BatchRecords
from coupled_core.splitting.llm.batches import BatchTransport
from coupled_core.splitting.llm.budget import OnlineBudget
from coupled_core.splitting.llm.cache import AnswerCache
from coupled_core.splitting.llm.client import check_key, open_client
from coupled_core.splitting.llm.ledger import Ledger
from coupled_core.splitting.llm.online import OnlineTransport
from coupled_core.splitting.llm.prices import price_of
from coupled_core.splitting.llm.request import LlmRequest, request_sha256, splitter_identity
from coupled_core.splitting.llm.threads import map_in_threads
from coupled_core.splitting.llm.verdict import Judge
from coupled_core.storage.store import open_store

if TYPE_CHECKING:
    from anthropic import Anthropic

_BATCH_FROM = 1000
"""Open groups from which on "auto" prefers half the price to an answer within seconds."""
_READ_THREADS = 16
_DEFAULT_CACHE = Path("~/.cache/coupled-images/split-answers")

Outcome = GroupSplit | Rejection


class LlmSplitter:
    """Splits by one question a group, and one more where the answer does not pass the checks."""

    def __init__(
        self, config: SplitConfig, account: str | None = None, patience: Patience | None = None
    ) -> None:
        """Check what can be checked without a request.

        Args:
            config: Settings.
            account: Whose money is spent, such as a run; None: an account of this object's own.
            patience: How long batches are waited for.

        Raises:
            ConfigError: there is no API key, or no price for the model.
        """
        check_key()
        self._config, self._price, self._patience = config, price_of(config), patience
        self._account = account or uuid.uuid4().hex
        self._store = open_store(config.cache_uri or _DEFAULT_CACHE.expanduser())
        self._cache = AnswerCache(self._store, self._account, is_refresh=config.refresh)
        self._judge = Judge(config, self._cache, self._account)

    @property
    def identity(self) -> str:
        """Model and version of the instruction."""
        return splitter_identity(self._config)

    def request_sha256(self, group: PromptGroup) -> str:
        """Return the hash of what the model is asked about a group."""
        return request_sha256(self._config, group)

    def split(self, groups: Sequence[PromptGroup]) -> list[Outcome]:
        """Return a split or a rejection for each group, in order; asks for what is missing.

        Raises:
            LlmBudgetError: the cap on spending is reached.
            LlmError: the API refuses us or is down.
        """
        if self._config.transport == "batch" and self._has_open(groups, at_least=1):
            self._fill_by_batches(lambda: groups)
        return list(self._online.split(groups))

    def prepare(self, read_groups: Callable[[], Iterable[PromptGroup]], num_groups: int) -> None:
        """Ask about a whole set, so that `split` finds every answer in the cache.

        Raises:
            LlmBudgetError: the cap on spending is reached.
            LlmError: the API refuses us or is down.
        """
        current_progress().begin("split", num_groups)
        if self._uses_batches(read_groups):
            self._fill_by_batches(read_groups)
            return
        for _ in self._online.split(read_groups()):
            current_progress().advance("split")

    def _uses_batches(self, read_groups: Callable[[], Iterable[PromptGroup]]) -> bool:
        if self._config.transport != "auto":
            return self._config.transport == "batch"
        # Batches of an earlier attempt are paid for: they must be waited for.
        has_batches = BatchRecords(self._store).has_any_of(self._account)
        return has_batches or self._has_open(read_groups(), at_least=_BATCH_FROM)

    def _has_open(self, groups: Iterable[PromptGroup], *, at_least: int) -> bool:
        """Say whether at least so many groups have no outcome in the cache yet."""
        verdicts = map_in_threads(self._judge.judge, groups, _READ_THREADS)
        is_open = (verdict for verdict in verdicts if isinstance(verdict, LlmRequest))
        return sum(1 for _ in islice(is_open, at_least)) == at_least

    def _fill_by_batches(self, read_groups: Callable[[], Iterable[PromptGroup]]) -> None:
        transport = BatchTransport(self._config, self._judge, self._queue())
        transport.fill(read_groups, lambda count: current_progress().advance("split", count))

    def _queue(self) -> BatchQueue:
        return BatchQueue(
            self._config, self._client, self._store, self._account, self._price, self._patience
        )

    @cached_property
    def _client(self) -> "Anthropic":
        return open_client()

    @cached_property
    def _online(self) -> OnlineTransport:
        budget = OnlineBudget(Ledger(self._store, self._account), self._config.max_llm_usd)
        return OnlineTransport(
            self._config, self._client, self._judge, self._cache, budget, self._price
        )
