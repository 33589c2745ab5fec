"""The transport for large sets: Message Batches, half the price, and no answer lost by a kill.

A batch is announced in the cache's store, then created, then named there, and only then waited for.
Whoever dies in between finds it again. Results stay with the API for weeks, so a kill costs
nothing.
"""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import accumulate

from coupled_core.errors import LlmBudgetError, LlmError
from coupled_core.id_set import IdSet
from coupled_core.llm.answers import answered_id, list_answered
from coupled_core.llm.batch_api import BatchApi, CreationLostError
from coupled_core.llm.batch_record import BatchRecord, BatchRegister, OpenBatch
from coupled_core.llm.dialogue import Dialogue, R, Session
from coupled_core.llm.question import Question
from coupled_core.llm.spending import Ledger, max_cost_usd
from coupled_core.llm.threads import map_in_threads
from coupled_core.progress import current_progress

_MAX_OPEN = 20
"""Batches at a time; more would fill memory and not speed up the API."""
_MAX_BATCH_BYTES = 200_000_000
"""The API's limit is 256 MB."""
_MAX_IDLE_ROUNDS = 3
"""Rounds in a row that brought no answer at all before we give up."""
_MISSING_SECONDS = 600.0
"""How long after its creation the API may not know a batch yet."""
_POLL_GROWTH = 1.5
_READ_THREADS = 16
_MAX_LISTED_A_SUBJECT = 100
"""A cache of many sets is not listed for a small one: a listing of 1000 costs one request."""
_logger = logging.getLogger(__name__)


class BatchTransport:
    """Creates, follows and harvests batches until all dialogues have outcomes. One thread uses it.

    It also waits for the batches of others that answer our questions, and for those of a process
    of ours that was killed.
    """

    def __init__(self, session: Session) -> None:
        """Find the batches that are under way; nothing is asked of the API."""
        self._session = session
        self._register = BatchRegister(session.store)
        self._ledger = Ledger(session.store, session.account)
        self._wanted = {batch.key for batch in self._register if batch.account == session.account}
        """Keys of open batches that hold something which we asked, or need."""
        self._collected: dict[str, Question] = {}
        self._collected_bytes = 0
        self._has_worked = False
        """The API has answered something: a row that it does not take is to blame itself."""
        self._has_submitted = False
        self._num_answers = 0
        self._budget_error: LlmBudgetError | None = None

    def waits_for(self, questions: Iterable[Question]) -> bool:
        """Say whether a batch is under way that we have paid for, or that asks one of these.

        An earlier attempt was killed, or another run is at work: its answers cost us only patience.
        """
        return bool(self._wanted) or any(map(self.is_asked, questions))

    def is_asked(self, question: Question) -> bool:
        """Say whether an open batch holds a request; from then on that batch is waited for."""
        key = self._register.find_asking(question.key)
        if key is not None:
            self._wanted.add(key)
        return key is not None

    def settle(
        self,
        read_open: Callable[[], Iterable[Dialogue[R]]],
        num_subjects: int,
        on_settled: Callable[[Dialogue[R]], None],
    ) -> None:
        """Ask in rounds: what is open, then again what failed or came out bad.

        Args:
            read_open: Yields the dialogues that have no outcome yet, once a round.
            num_subjects: How many that is at first, about.
            on_settled: Told of each dialogue that has got its outcome.

        Raises:
            LlmBudgetError: the cap is reached; what was asked is in the cache.
            LlmError: the API refuses us, or brings no answers.
        """
        # One listing tells which of a large set are answered; without it each group costs a read.
        answered = list_answered(self._session.store, _MAX_LISTED_A_SUBJECT * num_subjects)
        num_idle = 0
        while num_idle < _MAX_IDLE_ROUNDS:
            num_answers, self._has_submitted, self._budget_error = self._num_answers, False, None
            self._ask_once(read_open(), answered, on_settled)
            if not self._has_submitted and not self._wanted:
                if self._budget_error is not None:
                    raise self._budget_error
                return
            self._drain()
            num_idle = num_idle + 1 if self._num_answers == num_answers else 0
            answered = None  # the listing has grown old
        raise LlmError(
            f"{_MAX_IDLE_ROUNDS} rounds of batches brought no answer: they expired, were canceled "
            "or failed; run the same command again later, what is answered is kept"
        )

    def submit(self, questions: Sequence[Question]) -> None:
        """See to it that questions are asked: in a batch of ours, unless others ask them already.

        Raises:
            LlmBudgetError: not all fit under the cap; those that do are asked first.
            LlmError: the API refuses it.
        """
        self._drain(down_to=_MAX_OPEN - 1)
        # In the order of the module's text, with the money set aside before the API is asked.
        record, questions = self._claim(questions)
        if record is None:
            return
        costs = [max_cost_usd(self._session.price, q.bounds, is_batch=True) for q in questions]
        cap_usd = self._session.config.max_llm_usd
        try:
            # The worst case of all rows; the harvest puts what they cost in its place.
            self._ledger.hold(record.purchase, math.fsum(costs), cap_usd)
        except LlmBudgetError:
            self._forget(record)
            # Half a batch is better than none: the rest is asked under a higher cap.
            room_usd = math.inf if cap_usd is None else cap_usd - self._ledger.total()
            if num_fitting := sum(total <= room_usd for total in accumulate(costs)):
                self.submit(questions[:num_fitting])
            raise
        try:
            batch_id = self._api.create(record, questions)
        except CreationLostError:
            raise  # whoever comes next finds the batch, or that there is none
        except LlmError:
            self._withdraw(record)
            raise
        self._register.write(record.model_copy(update={"batch_id": batch_id}))
        self._wanted.add(record.key)
        _logger.info("batch %s: %d requests", batch_id, len(questions))

    @cached_property
    def _api(self) -> BatchApi:
        return BatchApi(self._session, self._register)

    def _ask_once(
        self,
        dialogues: Iterable[Dialogue[R]],
        answered: IdSet | None,
        on_settled: Callable[[Dialogue[R]], None],
    ) -> None:
        """Read what is answered and ask the rest; None: which are answered is not known."""

        def read(dialogue: Dialogue[R]) -> Dialogue[R]:
            if answered is None or answered_id(dialogue.request_sha256) in answered:
                dialogue.read()
            return dialogue

        for dialogue in map_in_threads(read, dialogues, _READ_THREADS):
            if dialogue.outcome is None:
                self._collect(dialogue.question)
            else:
                self._has_worked = True
                on_settled(dialogue)
        self._flush()

    def _collect(self, question: Question) -> None:
        """Have a request asked, sooner or later; at the cap, or where it is asked already, not."""
        # Equal groups ask one question, and pay for it once.
        name = question.key.custom_id
        if self._budget_error or name in self._collected or self.is_asked(question):
            return
        size_bytes = question.size_bytes
        is_full = len(self._collected) >= self._session.config.batch_size
        if is_full or self._collected_bytes + size_bytes > _MAX_BATCH_BYTES:
            self._flush()
        self._collected[name] = question
        self._collected_bytes += size_bytes

    def _flush(self) -> None:
        """Submit what was collected; at the cap only what fits under it."""
        questions, self._collected, self._collected_bytes = list(self._collected.values()), {}, 0
        if not questions or self._budget_error:
            return
        try:
            self.submit(questions)
        except LlmBudgetError as error:
            self._budget_error = error
        else:
            self._has_submitted = True

    def _claim(
        self, questions: Sequence[Question]
    ) -> tuple[BatchRecord | None, Sequence[Question]]:
        """Announce a batch of the requests that nobody else asks and nobody has answered."""
        cache = self._session.cache
        while True:
            self._register.look()
            left = [question for question in questions if not self.is_asked(question)]
            if not left:
                return None, left
            record = BatchRecord.of_questions(self._session, left)
            if not self._register.claim(record, self._session.patience):
                # Somebody else has announced some of them: look again which.
                continue
            # Nobody else can ask them now, but somebody may just have harvested some.
            answers = map_in_threads(lambda each: cache.read(each.key), left, _READ_THREADS)
            questions = [each for each, answer in zip(left, answers, strict=True) if answer is None]
            if len(questions) == len(left):
                return record, left
            self._num_answers += len(left) - len(questions)
            self._forget(record)

    def _drain(self, down_to: int = 0) -> None:
        """Harvest what has ended, until at most so many batches are waited for."""
        patience = self._session.patience
        seconds = patience.first_poll_seconds
        while len(self._wanted) > down_to:
            ended = [key for key in sorted(self._wanted) if self._has_ended(key)]
            for key in ended:
                self._harvest(key)
            if ended:
                seconds = patience.first_poll_seconds
            elif len(self._wanted) > down_to:
                self._api.pace.sleep(seconds)
                # A batch takes minutes to hours: the longer it has taken, the longer until the next
                # look.
                seconds = min(seconds * _POLL_GROWTH, patience.max_poll_seconds)
            current_progress().advance(self._session.stage, 0)  # lets Ctrl-C through

    def _has_ended(self, key: str) -> bool:
        """Say whether a batch can be harvested, after finding out its name if need be."""
        batch = self._register.get(key)
        if batch is None:  # a twin has harvested it
            return True
        batch_id = batch.batch_id or self._find_name(batch)
        if batch_id is None:
            return False
        found = self._api.look_up(batch_id)
        if found is None:
            if batch.age_seconds < _MISSING_SECONDS:
                return False
            problem = f"the API does not know batch {batch_id}: use the key that created it, or"
        elif found["processing_status"] == "ended" and found.get("results_url") is None:
            problem = f"the API has put the results of batch {batch_id} away:"
        else:
            return bool(found["processing_status"] == "ended")
        raise LlmError(
            f"{problem} delete {self._session.store.uri}/{key} to have its requests made, and "
            "paid for, again"
        )

    def _find_name(self, batch: OpenBatch) -> str | None:
        """Find the name of a batch that a killed process, or a slow twin, has announced."""
        record = self._register.read(batch.key)
        if record is None:  # its process withdrew it
            self._wanted.discard(batch.key)
            return None
        if record.batch_id is not None:
            return record.batch_id
        if batch.age_seconds < self._session.patience.twin_seconds:
            return None  # its process may live and be about to name it
        batch_id = self._api.find(record)
        if batch_id is None:
            self._withdraw(record)
        else:
            self._register.write(record.model_copy(update={"batch_id": batch_id}))
        return batch_id

    def _harvest(self, key: str) -> None:
        record = self._register.read(key)
        self._wanted.discard(key)
        if record is None:  # a twin has harvested it
            self._num_answers += 1
            return
        ends = self._api.harvest(record, trusts_api=self._has_worked)
        self._has_worked = True
        _logger.info("batch %s: %s", record.batch_id, dict(ends))
        self._num_answers += ends["succeeded"] + ends["invalid"]

    def _withdraw(self, record: BatchRecord) -> None:
        """Forget a batch that was not created, and give back what was set aside for it."""
        self._forget(record)
        Ledger(self._session.store, record.account).settle(record.purchase, 0.0)

    def _forget(self, record: BatchRecord) -> None:
        self._register.withdraw(record)
        self._wanted.discard(record.key)
