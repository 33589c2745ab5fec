"""From the results of an ended batch to the cache: a stream, in no order, row by row."""

import json
from collections import Counter
from typing import TYPE_CHECKING

from coupled_core.errors import LlmError
from coupled_core.splitting.llm.answers import AnswerCache, StoredAnswer
from coupled_core.splitting.llm.batch_api import BatchApi
from coupled_core.splitting.llm.batch_record import BatchRecord, BatchRegister
from coupled_core.splitting.llm.client import quote
from coupled_core.splitting.llm.dialogue import Session
from coupled_core.splitting.llm.request import RequestKey
from coupled_core.splitting.llm.spending import Ledger
from coupled_core.splitting.llm.threads import map_in_threads

if TYPE_CHECKING:
    from anthropic.types.messages import MessageBatchIndividualResponse

_STORE_THREADS = 16


class Harvest:
    """Stores what one batch has brought. Doing it twice, or by two processes, changes nothing."""

    def __init__(self, session: Session, record: BatchRecord) -> None:
        self._session, self._record = session, record
        # The batch may be another account's: what it brings is theirs, and they have paid for it.
        self._cache = AnswerCache(session.store, record.account, is_refresh=record.is_refresh)
        self._rows = {row.custom_id: row for row in record.rows}
        self._invalid: list[StoredAnswer] = []
        """Kept back until it is clear whether the fault is the rows' own."""

    def run(self, api: BatchApi, register: BatchRegister, *, trusts_api: bool) -> Counter[str]:
        """Store every answer of an ended batch, then what it cost, then that it is done.

        Rows that expired, were canceled or met an error of the API leave nothing behind: they are
        asked for again as if they never had been.

        Args:
            api: Where the results are read.
            register: Where the batch is open.
            trusts_api: It has answered before: a row that it calls invalid is invalid. Else, when
                that is so for all rows, the fault is not theirs and nothing is kept.

        Returns:
            How many rows came to which end: succeeded, invalid, errored, expired, canceled.

        Raises:
            LlmError: the API took none of the rows.
        """
        record = self._record
        ends, cost_usd = api.pace.call(lambda: self._store_results(api))
        takes_none = not trusts_api and ends["invalid"] == len(record.rows)
        if not takes_none:
            for _ in map_in_threads(self._cache.add, self._invalid, _STORE_THREADS):
                pass
        Ledger(self._session.store, record.account).settle(record.purchase, cost_usd)
        summary = {"batch_id": record.batch_id, "account": record.account, "rows": dict(ends)}
        register.finish(record, json.dumps({**summary, "cost_usd": cost_usd}).encode())
        if takes_none:
            problem = self._invalid[0].error
            raise LlmError(f"the API took none of {len(record.rows)} requests: {problem}")
        return ends

    def _store_results(self, api: BatchApi) -> tuple[Counter[str], float]:
        assert self._record.batch_id is not None, "only a batch that exists has results"
        ends: Counter[str] = Counter()
        cost_usd = 0.0
        self._invalid = []
        with api.results(self._record.batch_id) as results:
            for end, usd in map_in_threads(self._store_result, results, _STORE_THREADS):
                ends[end] += 1
                cost_usd += usd
        return ends, cost_usd

    def _store_result(self, result: "MessageBatchIndividualResponse") -> tuple[str, float]:
        """Store what a row has brought; return its end and its cost."""
        outcome, row = result.result, self._rows.get(result.custom_id)
        if row is None:
            return "foreign", 0.0
        if outcome.type == "succeeded":
            answer = StoredAnswer.of_message(
                row,
                outcome.message,
                self._session.price,
                account=self._record.account,
                transport="batch",
            )
            self._cache.add(answer)
            return "succeeded", answer.cost_usd
        if outcome.type == "errored" and outcome.error.error.type == "invalid_request_error":
            self._invalid.append(self._keep_invalid(row, outcome.error.error.message))
            return "invalid", 0.0
        return outcome.type, 0.0

    def _keep_invalid(self, row: RequestKey, error: str) -> StoredAnswer:
        return StoredAnswer.of_invalid(
            row,
            quote(error),
            model=self._record.model,
            account=self._record.account,
            transport="batch",
        )
