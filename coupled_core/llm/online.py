"""The online transport: one POST a question, a bounded number of them at a time.

A question is leased before it is asked. Where another worker asks it already, the next one is
taken up meanwhile: workers on the same set share the work, and none pays for what another pays for.
"""

import math
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing

from coupled_core.errors import LeaseLostError, LlmBudgetError, LlmError, StorageError
from coupled_core.llm.answers import StoredAnswer
from coupled_core.llm.client import ApiError
from coupled_core.llm.dialogue import Dialogue, R, Session
from coupled_core.llm.pace import Pace
from coupled_core.llm.question import Question
from coupled_core.llm.reading import UnreadableError
from coupled_core.llm.spending import Ledger, OnlineBudget, max_cost_usd
from coupled_core.llm.threads import map_in_threads
from coupled_core.storage.leases import Leases

_STORE_TRIES = 5
_GRACE_SECONDS = 3.0
"""For answers that are on their way at Ctrl-C: those that come are paid for and worth having."""


class OnlineTransport:
    """Asks until each dialogue has an outcome; answers are in the cache before they are judged.

    What a kill can cost twice are the answers on their way at that moment, `max_concurrency` at
    most: the API offers no way to ask for them again.
    """

    def __init__(self, session: Session) -> None:
        config, patience = session.config, session.patience
        self._session = session
        self._leases = Leases(session.store, "claims/", patience.lease)
        self._budget = OnlineBudget(Ledger(session.store, session.account), config.max_llm_usd)
        self._slots = threading.BoundedSemaphore(config.max_concurrency)
        self._pace = Pace(config.max_requests_per_minute, patience.first_backoff_seconds)
        self._has_worked = False
        self._ends_at = math.inf
        self._failure: Exception | None = None

    def settle(self, dialogues: Iterable[Dialogue[R]]) -> Iterator[Dialogue[R]]:
        """Yield the dialogues in order, each with its outcome.

        Raises:
            LlmBudgetError: the cap on spending is reached.
            LlmError: the API refuses us or is down.
        """
        self._failure = None
        self._pace.resume()
        self._ends_at = math.inf
        # While some wait for the store, the others keep the API as busy as it may be.
        num_threads = self._session.config.max_concurrency * 3 // 2
        tries = map_in_threads(self._try, dialogues, num_threads, on_interrupt=self._end_soon)
        try:
            with closing(tries):
                for dialogue in tries:
                    try:
                        while dialogue.outcome is None:  # another worker was asking
                            self._leases.wait_until_free(dialogue.request_sha256)
                            self._try(dialogue)
                    except Exception as error:
                        tries.throw(error)  # like an error of the threads: no answer is cut off
                    yield dialogue
        except LlmError:
            if self._failure is not None:  # others gave up because of it, maybe before in order
                raise self._failure from None
            raise
        finally:
            self._leases.close()
            self._budget.settle()

    def _end_soon(self) -> None:
        """Begin nothing new; what is still on its way after a moment counts at its worst case."""
        self._pace.stop()
        self._ends_at = time.monotonic() + _GRACE_SECONDS

    def _try(self, dialogue: Dialogue[R]) -> Dialogue[R]:
        """Bring a dialogue to its end, unless another worker is asking about its subject."""
        try:
            dialogue.read()
            if dialogue.outcome is None:
                with self._leases.holding(dialogue.request_sha256) as is_mine:
                    if not is_mine:
                        return dialogue
                    dialogue.read()  # whoever held the lease before may have stored an answer
                    while dialogue.outcome is None:
                        dialogue.take(self._ask(dialogue.question))
        except LeaseLostError:  # we were paused: whoever has it now pays for it
            return dialogue
        except LlmBudgetError:
            raise  # the others may finish what they have begun
        except Exception as error:
            self._failure = self._failure or error
            self._pace.stop()  # the others need not wait out their backoff
            raise
        self._has_worked = True
        return dialogue

    def _ask(self, question: Question) -> StoredAnswer:
        """Return the stored answer to a question, after paying for it."""
        try:
            answer = self._pace.call(lambda: self._buy(question))
        except ApiError as error:
            if not self._has_worked:  # then the fault may be in every request, not in this one
                raise LlmError(f"the API does not take our first request: {error}") from None
            asked = self._session.ask_by("online", question)
            invalid = StoredAnswer.of_invalid(question.key, asked, str(error))
            answer = self._session.cache.add(invalid)
        self._has_worked = True
        return answer

    def _buy(self, question: Question) -> StoredAnswer:
        """Make one request; its answer is durable when this returns."""
        session = self._session
        worst_usd = max_cost_usd(session.price, question.bounds, is_batch=False)
        # The slot first: who waits for one holds no money back from the others.
        with self._slots, self._budget.reserve(worst_usd) as purchase:
            self._pace.sleep(0.0)  # waiting for all this may take long: is anything wanted yet?
            self._leases.renew(question.key.request_sha256)
            # From here on it may be paid for: what is not known at the end counts at its worst.
            purchase.cost_usd = worst_usd
            try:
                document = session.api.answer(question, lambda: self._ends_at)
                asked = session.ask_by("online", question)
                answer = StoredAnswer.of_message(
                    question.key, asked, document, question.bounds, session.price
                )
            except ApiError as error:
                purchase.cost_usd = worst_usd if error.may_have_arrived else 0.0
                raise
            except UnreadableError as error:
                raise ApiError.of_unreadable(str(error)) from None
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
