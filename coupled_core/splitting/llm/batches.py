"""The transport for large sets: Message Batches, half the price, and no answer lost by a kill.

A batch is announced in the cache's store, then created, then named there, and only then waited for.
Whoever dies in between finds it again. Results stay with the API for weeks, so a kill costs
nothing.
"""

from collections.abc import Callable, Iterable

from coupled_core.config import SplitConfig
from coupled_core.errors import LlmBudgetError, LlmError
from coupled_core.records import PromptGroup
from coupled_core.splitting.llm.batch_queue import BatchQueue
from coupled_core.splitting.llm.request import LlmRequest
from coupled_core.splitting.llm.threads import map_in_threads
from coupled_core.splitting.llm.verdict import Judge

_MAX_BATCH_BYTES = 200_000_000
"""The API's limit is 256 MB."""
_MAX_IDLE_ROUNDS = 3
"""Rounds in a row that brought no answer at all before we give up."""
_READ_THREADS = 16


class BatchTransport:
    """Fills the cache in rounds: what is open is asked, what failed or came out bad again."""

    def __init__(self, config: SplitConfig, judge: Judge, queue: BatchQueue) -> None:
        self._config, self._judge, self._queue = config, judge, queue

    def fill(
        self, read_groups: Callable[[], Iterable[PromptGroup]], on_settled: Callable[[int], None]
    ) -> None:
        """Ask about every group until each has an outcome in the cache.

        Args:
            read_groups: Yields the groups, once a round.
            on_settled: Told how many more groups have an outcome.

        Raises:
            LlmBudgetError: the cap is reached; what was asked is in the cache.
            LlmError: the API refuses us, or brings no answers.
        """
        num_settled = num_idle = 0
        while num_idle < _MAX_IDLE_ROUNDS:
            num_answers = self._queue.num_answers
            submission = _Submission(self._queue, self._config.batch_size)
            settled_now = sum(submission.take(verdict) for verdict in self._verdicts(read_groups()))
            self._queue.has_worked = self._queue.has_worked or settled_now > 0
            submission.flush()
            on_settled(max(settled_now - num_settled, 0))
            num_settled = max(settled_now, num_settled)
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

    def _verdicts(self, groups: Iterable[PromptGroup]) -> Iterable[object]:
        return map_in_threads(self._judge.judge, groups, _READ_THREADS)


class _Submission:
    """Collects the requests of one round into batches within the API's bounds and the cap."""

    def __init__(self, queue: BatchQueue, max_requests: int) -> None:
        self._queue, self._max_requests = queue, max_requests
        self._requests: dict[str, LlmRequest] = {}
        self._size_bytes = 0
        self.has_asked = False
        self.budget_error: LlmBudgetError | None = None

    def take(self, verdict: object) -> bool:
        """Take a request, or say that there was none to take: the group has its outcome."""
        if not isinstance(verdict, LlmRequest):
            return True
        name = verdict.custom_id
        if self.budget_error or name in self._requests or self._queue.is_asked(name):
            return False
        size_bytes = verdict.size_bytes
        is_full = len(self._requests) >= self._max_requests
        if is_full or self._size_bytes + size_bytes > _MAX_BATCH_BYTES:
            self.flush()
        self._requests[name] = verdict
        self._size_bytes += size_bytes
        return False

    def flush(self) -> None:
        """Submit what was collected; at the cap only what fits under it."""
        requests, self._requests, self._size_bytes = list(self._requests.values()), {}, 0
        if not requests or self.budget_error:
            return
        try:
            num_submitted = self._queue.submit(requests)
            self.has_asked = self.has_asked or num_submitted > 0
        except LlmBudgetError as error:
            self.budget_error = error
