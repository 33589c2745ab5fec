"""One batch and the API: created exactly once, found when it got lost, harvested row by row."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

from coupled_core.errors import LlmError
from coupled_core.splitting.llm.answers import AnswerCache, StoredAnswer
from coupled_core.splitting.llm.batch_record import BatchRecord, BatchRegister
from coupled_core.splitting.llm.client import (
    Pace,
    describe,
    is_rate_limit,
    is_transient,
    quote,
    translate,
)
from coupled_core.splitting.llm.dialogue import Session
from coupled_core.splitting.llm.request import LlmRequest
from coupled_core.splitting.llm.spending import Ledger
from coupled_core.splitting.llm.threads import map_in_threads

if TYPE_CHECKING:
    from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse

_CREATE_TIMEOUT_SECONDS = 600.0
_MAX_TRIES = 10
_MAX_CLOCK_SKEW = timedelta(minutes=15)
_PAGE = 100
_STORE_THREADS = 16


class BatchApi:
    """The Message Batches API, asked on behalf of a session."""

    def __init__(self, session: Session, register: BatchRegister) -> None:
        self._session, self._register = session, register
        self._batches = session.client.messages.batches
        self.pace = Pace()

    def create(self, record: BatchRecord, requests: Sequence[LlmRequest]) -> str:
        """Create the batch of an announced record and return its id.

        Raises:
            LlmError: there is no such batch, and there will be none.
        """
        from anthropic import APIError

        rows = [{"custom_id": each.key.custom_id, "params": each.params} for each in requests]
        client = self._session.client.with_options(timeout=_CREATE_TIMEOUT_SECONDS)
        for attempt in range(_MAX_TRIES):
            try:
                return client.messages.batches.create(requests=rows).id  # type: ignore[arg-type]
            except APIError as error:
                last = describe(error)
                if not is_transient(error):
                    raise LlmError(f"no batch was created: {translate(error)}") from None
                # Only a rate limit says for sure that there is none. A second one would be paid.
                found = None if is_rate_limit(error) else self.find(record)
                if found is not None:
                    return found
                self.pace.back_off(error, attempt)
                self.pace.wait_for_turn()
        raise LlmError(
            f"no batch could be created in {_MAX_TRIES} tries, at last {last}: run the same "
            "command again later"
        )

    def find(self, record: BatchRecord) -> str | None:
        """Return the id of a batch whose creation was not answered; None: it does not exist.

        Batches have no names of ours until they end, only their rows have. So each batch of that
        time with as many rows is a candidate, is waited for, and told by its first result. That
        costs patience where somebody else's batch looks alike, and never money.
        """
        for seconds in self._session.patience.look_after_seconds:  # the API's list may lag behind
            self.pace.sleep(seconds)
            for batch_id in self._list_candidates(record):
                if not self._register.is_known(batch_id) and self._holds(batch_id, record):
                    return batch_id
        return None

    def look_up(self, batch_id: str) -> "MessageBatch | None":
        """Return a batch; None: the API does not know it, for a moment after creation at least."""
        from anthropic import NotFoundError

        def retrieve() -> "MessageBatch | None":
            try:
                return self._batches.retrieve(batch_id)
            except NotFoundError:
                return None

        return self.pace.call(retrieve)

    def harvest(self, record: BatchRecord, *, trusts_api: bool) -> Counter[str]:
        """Store every answer of an ended batch, then what it cost, then that it is done.

        Doing it twice, or by two processes, changes nothing. Rows that expired, were canceled or
        met an error of the API leave nothing behind: they are asked for again as if they never had
        been.

        Args:
            record: What the batch was created from.
            trusts_api: It has answered before: a row that it calls invalid is invalid. Else, when
                that is so for all rows, the fault is not theirs and nothing is kept.

        Returns:
            How many rows came to which end: succeeded, invalid, errored, expired, canceled.

        Raises:
            LlmError: the API took none of the rows.
        """
        store = self._session.store
        # The batch may be another account's: what it brings and what it costs are theirs.
        cache = AnswerCache(store, record.account, is_refresh=record.is_refresh)
        ends, cost_usd, invalid = self.pace.call(lambda: self._store_results(record, cache))
        takes_none = not trusts_api and len(invalid) == len(record.rows)
        if not takes_none:
            list(map_in_threads(cache.add, invalid, _STORE_THREADS))
        Ledger(store, record.account).settle(record.purchase, cost_usd)
        summary = {"batch_id": record.batch_id, "account": record.account, "rows": dict(ends)}
        self._register.finish(record, json.dumps({**summary, "cost_usd": cost_usd}).encode())
        if takes_none:
            raise LlmError(f"the API took none of {len(invalid)} requests: {invalid[0].error}")
        return ends

    def _store_results(
        self, record: BatchRecord, cache: AnswerCache
    ) -> tuple[Counter[str], float, list[StoredAnswer]]:
        """Store what succeeded; return the ends of all rows, their cost, and the invalid ones."""
        assert record.batch_id is not None, "only a batch that exists has results"
        rows = {row.custom_id: row for row in record.rows}
        account, price = record.account, self._session.price

        def store(result: "MessageBatchIndividualResponse") -> StoredAnswer | str:
            outcome, row = result.result, rows.get(result.custom_id)
            if row is None:
                return "foreign"
            if outcome.type == "succeeded":
                answer = StoredAnswer.of_message(row, outcome.message, price, account, "batch")
                cache.add(answer)
                return answer
            if outcome.type == "errored" and outcome.error.error.type == "invalid_request_error":
                problem = quote(outcome.error.error.message)
                return StoredAnswer.of_invalid(row, problem, record.model, account, "batch")
            return outcome.type

        ends: Counter[str] = Counter()
        cost_usd, invalid = 0.0, []
        with closing(self._batches.results(record.batch_id)) as results:
            for end in map_in_threads(store, results, _STORE_THREADS):
                if isinstance(end, str):
                    ends[end] += 1
                elif end.error is None:
                    ends["succeeded"] += 1
                    cost_usd += end.cost_usd
                else:
                    ends["invalid"] += 1
                    invalid.append(end)
        return ends, cost_usd, invalid

    def _list_candidates(self, record: BatchRecord) -> Iterator[str]:
        """Yield batches of the right time and size, newest first."""
        earliest = record.written_at - _MAX_CLOCK_SKEW
        page = self.pace.call(lambda: self._batches.list(limit=_PAGE))
        while True:
            for batch in page.data:
                if batch.created_at < earliest:  # and so are all that follow
                    return
                counts = batch.request_counts
                num_rows = counts.processing + counts.succeeded + counts.errored
                if num_rows + counts.canceled + counts.expired == len(record.rows):
                    yield batch.id
            if not page.has_next_page():
                return
            page = self.pace.call(page.get_next_page)

    def _holds(self, batch_id: str, record: BatchRecord) -> bool:
        """Say whether a batch has the rows of a record, once it has ended."""
        while (batch := self.look_up(batch_id)) is None or batch.processing_status != "ended":
            self.pace.sleep(self._session.patience.first_poll_seconds)
        if batch.results_url is None:
            return False

        def read_first() -> str | None:
            with closing(self._batches.results(batch_id)) as results:
                return next((result.custom_id for result in results), None)

        return self.pace.call(read_first) in {row.custom_id for row in record.rows}
