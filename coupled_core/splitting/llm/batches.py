"""The transport for large sets: Message Batches, half the price, and no answer lost by a kill.

A batch is announced in the cache's store, then created, then named there, and only then waited for.
Whoever dies in between finds it again. Results stay with the API for weeks, so a kill costs
nothing.
"""

from collections.abc import Callable, Iterable, Iterator

from coupled_core.config import SplitConfig
from coupled_core.errors import LlmBudgetError, LlmError
from coupled_core.records import PromptGroup
from coupled_core.splitting.llm.answers import AnsweredRequests
from coupled_core.splitting.llm.batch_queue import BatchQueue
from coupled_core.splitting.llm.request import LlmRequest, build_request
from coupled_core.splitting.llm.threads import map_in_threads
from coupled_core.splitting.llm.verdict import Judge, Verdict

_MAX_BATCH_BYTES = 200_000_000
"""The API's limit is 256 MB."""
_MAX_IDLE_ROUNDS = 3
"""Rounds in a row that brought no answer at all before we give up."""
_READ_THREADS = 16
_MAX_LISTED_A_GROUP = 100
"""A cache of many sets is not listed for a small one: a listing of 1000 costs one request."""


class BatchTransport:
    """Fills the cache in rounds: what is open is asked, what failed or came out bad again."""

    def __init__(self, config: SplitConfig, judge: Judge, queue: BatchQueue) -> None:
        self._config, self._judge, self._queue = config, judge, queue

    def fill(
        self,
        read_groups: Callable[[], Iterable[PromptGroup]],
        num_groups: int,
        on_settled: Callable[[int], None],
    ) -> None:
        """Ask about every group until each has an outcome in the cache.

        Args:
            read_groups: Yields the groups, once a round, always in the same order.
            num_groups: How many that is, about.
            on_settled: Told how many more groups have an outcome.

        Raises:
            LlmBudgetError: the cap is reached; what was asked is in the cache.
            LlmError: the API refuses us, or brings no answers.
        """
        rounds = _Rounds(self._judge, read_groups)
        rounds.answered = self._judge.cache.list_answered(_MAX_LISTED_A_GROUP * num_groups)
        num_idle = 0
        while num_idle < _MAX_IDLE_ROUNDS:
            num_answers = self._queue.num_answers
            submission = _Submission(self._queue, self._config.batch_size)
            for verdict in rounds.next_verdicts():
                submission.take(verdict)
            self._queue.has_worked = self._queue.has_worked or rounds.num_settled_now > 0
            submission.flush()
            on_settled(rounds.num_settled_now)
            if not submission.has_asked and not self._queue.num_wanted:
                if submission.budget_error is not None:
                    raise submission.budget_error
                return
            self._queue.drain()
            num_idle = num_idle + 1 if self._queue.num_answers == num_answers else 0
        raise LlmError(
            f"{_MAX_IDLE_ROUNDS} rounds of batches brought no answer: they expired, were canceled "
            "or failed; run the same command again later, what is answered is kept"
        )


class _Rounds:
    """Reads the groups again and again, each until it has its outcome: one bit a group."""

    def __init__(self, judge: Judge, read_groups: Callable[[], Iterable[PromptGroup]]) -> None:
        self._judge, self._read_groups = judge, read_groups
        self._settled = bytearray()
        self.num_settled_now = 0
        """In the round that was read last."""
        self.answered: AnsweredRequests | None = None
        """For the first round only: a listing grows old."""

    def next_verdicts(self) -> Iterator[LlmRequest]:
        """Yield what is to be asked in one more round."""
        self.num_settled_now = 0
        for position, verdict in map_in_threads(self._look_at, self._unsettled(), _READ_THREADS):
            if isinstance(verdict, LlmRequest):
                yield verdict
            else:
                self._settled[position] = True
                self.num_settled_now += 1
        self.answered = None

    def _unsettled(self) -> Iterator[tuple[int, PromptGroup]]:
        for position, group in enumerate(self._read_groups()):
            if position == len(self._settled):
                self._settled.append(False)
            if not self._settled[position]:
                yield position, group

    def _look_at(self, item: tuple[int, PromptGroup]) -> tuple[int, Verdict]:
        position, group = item
        request = build_request(self._judge.config, group)
        if self.answered is not None and request.request_sha256 not in self.answered:
            return position, request
        return position, self._judge.judge(group)


class _Submission:
    """Collects the requests of one round into batches within the API's bounds and the cap."""

    def __init__(self, queue: BatchQueue, max_requests: int) -> None:
        self._queue, self._max_requests = queue, max_requests
        self._requests: dict[str, LlmRequest] = {}
        self._size_bytes = 0
        self.has_asked = False
        self.budget_error: LlmBudgetError | None = None

    def take(self, request: LlmRequest) -> None:
        """Have a request asked, sooner or later; at the cap, or where it is asked already, not."""
        name = request.custom_id
        if self.budget_error or name in self._requests or self._queue.is_asked(request):
            return
        size_bytes = request.size_bytes
        is_full = len(self._requests) >= self._max_requests
        if is_full or self._size_bytes + size_bytes > _MAX_BATCH_BYTES:
            self.flush()
        self._requests[name] = request
        self._size_bytes += size_bytes

    def flush(self) -> None:
        """Submit what was collected; at the cap only what fits under it."""
        requests, self._requests, self._size_bytes = list(self._requests.values()), {}, 0
        if not requests or self.budget_error:
            return
        try:
            self._queue.submit(requests)
        except LlmBudgetError as error:
            self.budget_error = error
        else:
            self.has_asked = True
