"""The online transport: one POST a question, a bounded number of them at a time.

A question is claimed before it is asked. Where another worker asks it already, the next one is
taken up meanwhile: workers on the same set share the work, and none pays for what another pays for.
"""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing

from coupled_core.errors import LlmBudgetError, LlmError, StorageError
from coupled_core.splitting.llm.answers import StoredAnswer
from coupled_core.splitting.llm.claims import Claims
from coupled_core.splitting.llm.client import InvalidRequestError, Pace, may_have_arrived
from coupled_core.splitting.llm.dialogue import Dialogue, Session
from coupled_core.splitting.llm.request import LlmRequest
from coupled_core.splitting.llm.spending import Ledger, OnlineBudget, max_cost_usd
from coupled_core.splitting.llm.threads import map_in_threads

_STORE_TRIES = 5


class OnlineTransport:
    """Asks about groups until each has an outcome; answers are in the cache before they are read.

    What a kill can cost twice are the answers on their way at that moment, `max_concurrency` at
    most: the API offers no way to ask for them again.
    """

    def __init__(self, session: Session) -> None:
        config = session.config
        self._session = session
        self._claims = Claims(session.store, session.patience.lease)
        self._budget = OnlineBudget(Ledger(session.store, session.account), config.max_llm_usd)
        self._slots = threading.BoundedSemaphore(config.max_concurrency)
        self._pace = Pace(config.max_requests_per_minute)
        self._has_worked = False
        self._failure: Exception | None = None

    def settle(self, dialogues: Iterable[Dialogue]) -> Iterator[Dialogue]:
        """Yield the dialogues in order, each with its outcome.

        Raises:
            LlmBudgetError: the cap on spending is reached.
            LlmError: the API refuses us or is down.
        """
        self._failure = None
        self._pace.resume()
        # While some wait for the store, the others keep the API as busy as it may be.
        num_threads = self._session.config.max_concurrency * 3 // 2
        tries = map_in_threads(self._try, dialogues, num_threads, on_interrupt=self._pace.stop)
        try:
            with closing(tries):
                for dialogue in tries:
                    while dialogue.outcome is None:  # another worker was asking
                        self._claims.wait_until_free(dialogue.request_sha256)
                        self._try(dialogue)
                    yield dialogue
        except LlmError:
            if self._failure is not None:  # others gave up because of it, maybe before in order
                raise self._failure from None
            raise
        finally:
            self._claims.close()
            self._budget.settle()

    def _try(self, dialogue: Dialogue) -> Dialogue:
        """Bring a dialogue to its end, unless another worker is asking about the group."""
        try:
            dialogue.read()
            if dialogue.outcome is None:
                with self._claims.holding(dialogue.request_sha256) as is_mine:
                    if not is_mine:
                        return dialogue
                    dialogue.read()  # whoever held the claim before may have stored an answer
                    while dialogue.outcome is None:
                        dialogue.take(self._ask(dialogue.request))
        except LlmBudgetError:
            raise  # the others may finish what they have begun
        except Exception as error:
            self._failure = self._failure or error
            self._pace.stop()  # the others need not wait out their backoff
            raise
        self._has_worked = True
        return dialogue

    def _ask(self, request: LlmRequest) -> StoredAnswer:
        """Return the stored answer to a request, after paying for it."""
        session = self._session
        try:
            answer = self._pace.call(lambda: self._buy(request))
        except InvalidRequestError as error:
            if not self._has_worked:  # then the fault may be in every request, not in this one
                raise LlmError(f"the API does not take our first request: {error}") from None
            model, account = session.config.model, session.account
            invalid = StoredAnswer.of_invalid(request.key, str(error), model, account, "online")
            answer = session.cache.add(invalid)
        self._has_worked = True
        return answer

    def _buy(self, request: LlmRequest) -> StoredAnswer:
        """Make one request; its answer is durable when this returns."""
        from anthropic import APIError

        session = self._session
        worst_usd = max_cost_usd(session.price, request, is_batch=False)
        with self._slots, self._budget.reserve(worst_usd) as purchase:
            try:
                message = session.client.messages.create(**request.params)
            except APIError as error:
                purchase.cost_usd = worst_usd if may_have_arrived(error) else 0.0
                raise
            answer = StoredAnswer.of_message(
                request.key, message, session.price, session.account, "online"
            )
            purchase.cost_usd = answer.cost_usd
            return self._store(answer)

    def _store(self, answer: StoredAnswer) -> StoredAnswer:
        """Store an answer; an outage of the store must not make us buy it again."""
        for attempt in range(_STORE_TRIES - 1):
            try:
                return self._session.cache.add(answer)
            except StorageError:
                time.sleep(2**attempt)
        return self._session.cache.add(answer)
