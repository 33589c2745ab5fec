"""The splitter that asks a language model, over whichever transport suits the size of the set."""

import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from coupled_core.config import SplitConfig
from coupled_core.progress import current_progress
from coupled_core.records import PromptGroup
from coupled_core.splitting.llm.answers import AnswerCache
from coupled_core.splitting.llm.batch_creation import Patience
from coupled_core.splitting.llm.batch_queue import BatchQueue
from coupled_core.splitting.llm.batch_record import BatchRecords
from coupled_core.splitting.llm.batches import BatchTransport
from coupled_core.splitting.llm.claims import Claims
from coupled_core.splitting.llm.client import check_key, open_client
from coupled_core.splitting.llm.online import OnlineTransport, Outcome
from coupled_core.splitting.llm.request import LlmRequest, request_sha256, splitter_identity
from coupled_core.splitting.llm.spending import Ledger, OnlineBudget, price_of
from coupled_core.splitting.llm.threads import map_in_threads
from coupled_core.splitting.llm.verdict import Judge, Verdict
from coupled_core.storage.store import open_store

if TYPE_CHECKING:
    from anthropic import Anthropic

_BATCH_FROM = 1000
"""Open groups from which on "auto" prefers half the price to an answer within seconds."""
_READ_THREADS = 16
_DEFAULT_CACHE = Path("~/.cache/coupled-images/split-answers")


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
        if self._config.transport == "batch" and self._find_open(groups, at_most=1):
            self._fill_by_batches(lambda: groups, len(groups))
        return list(self._online.split(groups))

    def prepare(self, read_groups: Callable[[], Iterable[PromptGroup]], num_groups: int) -> None:
        """Ask about a whole set, so that `split` finds every answer in the cache.

        Raises:
            LlmBudgetError: the cap on spending is reached.
            LlmError: the API refuses us or is down.
        """
        current_progress().begin("split", num_groups)
        if self._config.transport == "batch":
            self._fill_by_batches(read_groups, num_groups)
            return
        groups = read_groups()
        if self._config.transport == "auto":
            open_groups = self._find_open(groups, at_most=_BATCH_FROM)
            if len(open_groups) == _BATCH_FROM or self._waits_for_batch(open_groups):
                self._fill_by_batches(read_groups, num_groups)
                return
            current_progress().advance("split", num_groups - len(open_groups))
            groups = (group for group, _ in open_groups)
        for _ in self._online.split(groups):
            current_progress().advance("split")

    def _find_open(
        self, groups: Iterable[PromptGroup], *, at_most: int
    ) -> list[tuple[PromptGroup, LlmRequest]]:
        """Return the first groups that have no outcome in the cache yet, and what to ask."""

        def look_at(group: PromptGroup) -> tuple[PromptGroup, Verdict]:
            return group, self._judge.judge(group)

        looks = map_in_threads(look_at, groups, _READ_THREADS)
        is_open = ((group, v) for group, v in looks if isinstance(v, LlmRequest))
        return list(islice(is_open, at_most))

    def _waits_for_batch(self, open_groups: Sequence[tuple[PromptGroup, LlmRequest]]) -> bool:
        """Say whether a batch is under way that we have paid for, or that asks what we would ask.

        An earlier attempt was killed, or another run is at work: its answers cost us only patience.
        """
        if next(BatchRecords(self._store).open_keys(), None) is None:
            return False
        queue = self._queue()
        return queue.num_wanted > 0 or any(queue.is_asked(request) for _, request in open_groups)

    def _fill_by_batches(
        self, read_groups: Callable[[], Iterable[PromptGroup]], num_groups: int
    ) -> None:
        transport = BatchTransport(self._config, self._judge, self._queue())
        transport.fill(
            read_groups, num_groups, lambda count: current_progress().advance("split", count)
        )

    def _queue(self) -> BatchQueue:
        return BatchQueue(
            self._config,
            self._client,
            self._store,
            account=self._account,
            price=self._price,
            patience=self._patience,
        )

    @cached_property
    def _client(self) -> "Anthropic":
        return open_client()

    @cached_property
    def _online(self) -> OnlineTransport:
        budget = OnlineBudget(Ledger(self._store, self._account), self._config.max_llm_usd)
        claims = Claims(self._store, (self._patience or Patience()).lease)
        return OnlineTransport(
            self._config,
            self._client,
            self._judge,
            self._cache,
            claims=claims,
            budget=budget,
            price=self._price,
        )
