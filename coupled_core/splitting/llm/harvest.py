"""From the results of an ended batch to the cache: a stream, in no order, row by row."""

import json
from collections import Counter
from typing import TYPE_CHECKING

from coupled_core.config import ModelPrice
from coupled_core.errors import LlmError
from coupled_core.splitting.llm.answers import AnswerCache, keep_invalid, keep_message
from coupled_core.splitting.llm.batch_creation import look_up_batch
from coupled_core.splitting.llm.batch_record import BatchRecord, BatchRecords, BatchRow
from coupled_core.splitting.llm.client import without_key
from coupled_core.splitting.llm.pace import Pace, call_patiently
from coupled_core.splitting.llm.spending import Ledger
from coupled_core.splitting.llm.threads import map_in_threads
from coupled_core.splitting.llm.verdict import one_line
from coupled_core.storage.store import ObjectStore

if TYPE_CHECKING:
    from anthropic import Anthropic
    from anthropic.types.messages import MessageBatchIndividualResponse

_STORE_THREADS = 16


class Harvester:
    """Stores what a batch has brought. Doing it twice, or by two processes, changes nothing."""

    def __init__(
        self, client: "Anthropic", pace: Pace, store: ObjectStore, price: ModelPrice
    ) -> None:
        self._client, self._pace, self._store, self._price = client, pace, store, price
        self._records = BatchRecords(store)

    def harvest(self, record: BatchRecord, *, trusts_api: bool) -> Counter[str]:
        """Store every answer of an ended batch, then what it cost, then that it is done.

        Rows that expired, were canceled or met an error of the API leave nothing behind: they are
        asked for again as if they never had been.

        Args:
            record: What the batch was created from.
            trusts_api: It has answered before: a row that it calls invalid is invalid. Else, when
                that is so for all rows, the fault is not theirs and nothing is kept.

        Returns:
            How many rows came to which end: succeeded, invalid, errored, expired, canceled.

        Raises:
            LlmError: the API took none of the rows.
        """
        complaint = None if trusts_api else self._find_common_complaint(record)
        if complaint is None:
            ends, cost_usd = call_patiently(self._pace, lambda: self._store_results(record))
        else:
            ends, cost_usd = Counter(invalid=len(record.rows)), 0.0
        self._close(record, ends, cost_usd)
        if complaint is not None:
            raise LlmError(f"the API took none of {len(record.rows)} requests: {complaint}")
        return ends

    def _close(self, record: BatchRecord, ends: Counter[str], cost_usd: float) -> None:
        Ledger(self._store, record.account).settle(record.purchase, cost_usd)
        summary = {"batch_id": record.batch_id, "account": record.account, "rows": dict(ends)}
        text = json.dumps({**summary, "cost_usd": cost_usd})
        self._records.finish(record, text.encode())

    def _find_common_complaint(self, record: BatchRecord) -> str | None:
        """Return the API's words when it finds every row of a batch invalid."""
        assert record.batch_id is not None, "only a batch that exists has results"
        batch = look_up_batch(self._client, self._pace, record.batch_id)
        if batch is None or batch.request_counts.errored < len(record.rows):
            return None
        batches, batch_id = self._client.messages.batches, batch.id
        results = call_patiently(self._pace, lambda: batches.results(batch_id))
        try:
            outcomes = [result.result for result in results]
        finally:
            results.close()
        errors = [outcome.error.error for outcome in outcomes if outcome.type == "errored"]
        if any(error.type != "invalid_request_error" for error in errors):
            return None
        return one_line(without_key(errors[0].message))

    def _store_results(self, record: BatchRecord) -> tuple[Counter[str], float]:
        assert record.batch_id is not None, "only a batch that exists has results"
        rows = {row.custom_id: row for row in record.rows}
        cache = AnswerCache(self._store, record.account, is_refresh=record.is_refresh)
        ends: Counter[str] = Counter()
        cost_usd = 0.0

        def store(result: "MessageBatchIndividualResponse") -> tuple[str, float]:
            row = rows.get(result.custom_id)
            return ("foreign", 0.0) if row is None else self._store_row(record, row, result, cache)

        results = self._client.messages.batches.results(record.batch_id)
        try:
            for end, usd in map_in_threads(store, results, _STORE_THREADS):
                ends[end] += 1
                cost_usd += usd
        finally:
            results.close()
        return ends, cost_usd

    def _store_row(
        self,
        record: BatchRecord,
        row: BatchRow,
        result: "MessageBatchIndividualResponse",
        cache: AnswerCache,
    ) -> tuple[str, float]:
        outcome = result.result
        names = {**row.model_dump(), "account": record.account, "transport": "batch"}
        if outcome.type == "succeeded":
            answer = keep_message(outcome.message, self._price, **names)
            cache.add(answer)
            return "succeeded", answer.cost_usd
        if outcome.type == "errored" and outcome.error.error.type == "invalid_request_error":
            error = one_line(without_key(outcome.error.error.message))
            cache.add(keep_invalid(error, model=record.model, **names))
            return "invalid", 0.0
        return outcome.type, 0.0
