"""The online transport: one POST a question, a bounded number of them at a time.

A question is claimed before it is asked. Where another worker asks it already, the next one is
taken up meanwhile: workers on the same set share the work, and none pays for what another pays for.
"""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from coupled_core.config import ModelPrice, SplitConfig
from coupled_core.errors import LlmBudgetError, LlmError, StorageError
from coupled_core.records import GroupSplit, PromptGroup, Rejection
from coupled_core.splitting.llm.answers import AnswerCache, StoredAnswer, keep_invalid, keep_message
from coupled_core.splitting.llm.claims import Claims
from coupled_core.splitting.llm.client import InvalidRequestError, may_have_arrived
from coupled_core.splitting.llm.pace import Pace, call_patiently
from coupled_core.splitting.llm.request import LlmRequest, request_sha256
from coupled_core.splitting.llm.spending import OnlineBudget, max_cost_usd
from coupled_core.splitting.llm.threads import map_in_threads
from coupled_core.splitting.llm.verdict import Judge

if TYPE_CHECKING:
    from anthropic import Anthropic

Outcome = GroupSplit | Rejection

_STORE_TRIES = 5


class OnlineTransport:
    """Asks about groups until each has an outcome; answers are in the cache before they are read.

    What a kill can cost twice are the answers on their way at that moment, `max_concurrency` at
    most: the API offers no way to ask for them again.
    """

    def __init__(
        self,
        config: SplitConfig,
        client: "Anthropic",
        judge: Judge,
        cache: AnswerCache,
        *,
        claims: Claims,
        budget: OnlineBudget,
        price: ModelPrice,
    ) -> None:
        self._config, self._client, self._judge, self._cache = config, client, judge, cache
        self._claims, self._budget, self._price = claims, budget, price
        self._slots = threading.BoundedSemaphore(config.max_concurrency)
        self._pace = Pace(config.max_requests_per_minute)
        self._turns = _OneAtATime()
        self._has_worked = False
        self._failure: Exception | None = None

    def split(self, groups: Iterable[PromptGroup]) -> Iterator[Outcome]:
        """Yield the outcome of each group, in order.

        Raises:
            LlmBudgetError: the cap on spending is reached.
            LlmError: the API refuses us or is down.
        """
        self._failure = None
        self._pace.resume()
        # While some wait for the store, the others keep the API as busy as it may be.
        num_threads = self._config.max_concurrency + self._config.max_concurrency // 2
        tries = map_in_threads(self._try, groups, num_threads, on_interrupt=self._pace.stop)
        try:
            with closing(tries):
                for group, outcome in tries:
                    yield outcome or self._settle_after_others(group)
        except LlmError:
            if self._failure is not None:  # others gave up because of it, maybe before in order
                raise self._failure from None
            raise
        finally:
            self._claims.close()
            self._budget.settle()

    def _try(self, group: PromptGroup) -> tuple[PromptGroup, Outcome | None]:
        return group, self._settle(group)

    def _settle_after_others(self, group: PromptGroup) -> Outcome:
        """Return the outcome of a group that another worker was asking about."""
        while (outcome := self._settle(group)) is None:
            self._claims.wait_until_free(request_sha256(self._config, group))
        return outcome

    def _settle(self, group: PromptGroup) -> Outcome | None:
        """Return the outcome for a group; None: another worker is asking about it."""
        try:
            verdict = self._judge.judge(group)
            if isinstance(verdict, LlmRequest):
                name = verdict.request_sha256
                with self._turns.of(name), self._claims.holding(name) as is_mine:
                    return self._ask_until_settled(group) if is_mine else None
        except LlmBudgetError:
            raise  # the others may finish what they have begun
        except Exception as error:
            self._failure = self._failure or error
            self._pace.stop()  # the others need not wait out their backoff
            raise
        self._has_worked = True
        return verdict

    def _ask_until_settled(self, group: PromptGroup) -> GroupSplit | Rejection:
        while isinstance(verdict := self._judge.judge(group), LlmRequest):
            self._ask(verdict)
        return verdict

    def _ask(self, request: LlmRequest) -> None:
        try:
            call_patiently(self._pace, lambda: self._buy(request))
        except InvalidRequestError as error:
            if not self._has_worked:  # then the fault may be in every request, not in this one
                raise LlmError(f"the API does not take our first request: {error}") from None
            names = self._names(request)
            self._cache.add(keep_invalid(str(error), model=self._config.model, **names))
        self._has_worked = True

    def _buy(self, request: LlmRequest) -> None:
        """Make one request; its answer is durable when this returns."""
        from anthropic import APIError

        worst = max_cost_usd(self._price, request, is_batch=False)
        with self._slots, self._budget.reserve(worst) as purchase:
            try:
                message = self._client.messages.create(**request.params)
            except APIError as error:
                purchase.cost_usd = worst if may_have_arrived(error) else 0.0
                raise
            answer = keep_message(message, self._price, **self._names(request))
            purchase.cost_usd = answer.cost_usd
            self._keep(answer)

    def _keep(self, answer: StoredAnswer) -> None:
        """Store an answer; an outage of the store must not make us buy it again."""
        for attempt in range(_STORE_TRIES):
            try:
                self._cache.add(answer)
            except StorageError:
                if attempt == _STORE_TRIES - 1:
                    raise
                time.sleep(2**attempt)
            else:
                return

    def _names(self, request: LlmRequest) -> dict[str, Any]:
        return {
            "request_sha256": request.request_sha256,
            "attempt": request.attempt,
            "group_id": request.group_id,
            "account": self._judge.account,
            "transport": "online",
        }


class _OneAtATime:
    """Lets groups with the same prompts ask one after the other: the second finds the answer."""

    def __init__(self) -> None:
        self._busy: set[str] = set()
        self._changed = threading.Condition()

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        with self._changed:
            while name in self._busy:
                self._changed.wait()
            self._busy.add(name)
        try:
            yield
        finally:
            with self._changed:
                self._busy.discard(name)
                self._changed.notify_all()
