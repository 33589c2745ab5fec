"""One batch and the API: created exactly once, found when it got lost, harvested row by row."""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from coupled_core.errors import LlmError
from coupled_core.llm.answers import AnswerCache, Asked, StoredAnswer
from coupled_core.llm.batch_record import BatchRecord, BatchRegister, BatchRow
from coupled_core.llm.client import ApiError, bound_answer
from coupled_core.llm.dialogue import Session
from coupled_core.llm.pace import Pace
from coupled_core.llm.question import Question
from coupled_core.llm.reading import UnreadableError, parse_object, quote
from coupled_core.llm.spending import Ledger, max_cost_usd
from coupled_core.llm.threads import map_in_threads

_MAX_TRIES = 10
_MAX_CLOCK_SKEW = timedelta(minutes=15)
_PAGE, _MAX_PAGES = 100, 1000
_STORE_THREADS = 16
_NOTHING = frozenset({"errored", "expired", "canceled"})
"""Ends of a row that brought no answer, and cost nothing."""
_logger = logging.getLogger(__name__)


class CreationLostError(LlmError):
    """Nobody knows whether there is a batch: its record has to stay, for a later look."""


@dataclass
class Harvest:
    """What the results of a batch hold."""

    ends: Counter[str] = field(default_factory=Counter)
    """How many rows came to which end; `unreadable` lines may have been paid for."""
    cost_usd: float = 0.0
    invalid: list[StoredAnswer] = field(default_factory=list)


class BatchApi:
    """The Message Batches API, asked on behalf of a session."""

    def __init__(self, session: Session, register: BatchRegister) -> None:
        self._session, self._register = session, register
        self.pace = Pace(first_backoff_seconds=session.patience.first_backoff_seconds)

    def create(self, record: BatchRecord, questions: Sequence[Question]) -> str:
        """Create the batch of an announced record and return its id.

        Raises:
            CreationLostError: there may be one that the API does not show yet.
            LlmError: there is no such batch, and there will be none.
        """
        for attempt in range(_MAX_TRIES):
            try:
                return self._session.api.create_batch(questions)
            except ApiError as error:
                # Python deletes `error` at the end of the clause; the message below needs it.
                last = error
                if not error.is_transient:
                    raise LlmError(f"no batch was created: {error.to_final()}") from None
                # Only a rate limit says for sure that there is none. A second one would be paid.
                if not error.is_rate_limit:
                    found = self._find_lost(record, error)
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

    def _find_lost(self, record: BatchRecord, error: ApiError) -> str | None:
        """Return the batch whose creation failed so; None: there is surely none."""
        problem = str(error)
        try:
            found = self.find(record)
            if found is not None or not error.is_costly:
                return found
        except LlmError as other:
            problem = f"{problem}, and cannot be searched: {other}"
        raise CreationLostError(
            f"nobody knows whether a batch was created ({problem}): run the same command again "
            "later; if there is one, it will be found"
        )

    def look_up(self, batch_id: str) -> Mapping[str, Any] | None:
        """Return a batch; None: the API does not know it, for a moment after creation at least."""

        def retrieve() -> Mapping[str, Any] | None:
            try:
                return self._session.api.look_up_batch(batch_id)
            except ApiError as error:
                if error.status == 404:
                    return None
                raise

        return self.pace.read(retrieve)

    def harvest(self, record: BatchRecord, *, trusts_api: bool) -> Counter[str]:
        """Store every answer of an ended batch, then what it cost, then that it is done.

        Doing it twice, or by two processes, changes nothing. Rows that expired, were canceled, met
        an error of the API, or of which nothing readable came leave nothing behind: they are asked
        for again as if they never had been.

        Args:
            record: What the batch was created from.
            trusts_api: It has answered before: a row that it calls invalid is invalid. Else, when
                that is so for all rows, the fault is not theirs and nothing is kept.

        Returns:
            How many rows came to which end, such as succeeded, invalid, expired.

        Raises:
            LlmError: the API took none of the rows.
        """
        store = self._session.store
        # The batch may be another account's: what it brings and what it costs are theirs.
        cache = AnswerCache(store, record.account, is_refresh=record.is_refresh)
        found = self.pace.read(lambda: self._store_results(record, cache))
        takes_none = not trusts_api and len(found.invalid) == len(record.rows)
        if not takes_none:
            list(map_in_threads(cache.add, found.invalid, _STORE_THREADS))
        # In this order: a process that dies here has the answers, and the next one harvests once
        # more. The record goes last, since without it nobody would look for the batch again.
        Ledger(store, record.account).settle(record.purchase, found.cost_usd)
        summary = {"batch_id": record.batch_id, "account": record.account, "rows": found.ends}
        self._register.finish(record, json.dumps({**summary, "cost_usd": found.cost_usd}).encode())
        if takes_none:
            error = found.invalid[0].error
            raise LlmError(f"the API took none of {len(found.invalid)} requests: {error}")
        return found.ends

    def _store_results(self, record: BatchRecord, cache: AnswerCache) -> Harvest:
        """Store what succeeded, each row once, whatever else the results hold."""
        assert record.batch_id is not None, "only a batch that exists has results"
        found, rows = Harvest(), {row.custom_id: row for row in record.rows}
        max_bytes = bound_answer(max(row.max_output_tokens for row in record.rows))
        lines = self._session.api.iter_results(record.batch_id, max_bytes)

        def read() -> Iterator[StoredAnswer]:
            for line in filter(bytes.strip, lines):
                end = self._read_line(line, record, rows)
                if not isinstance(end, StoredAnswer):
                    found.ends[end] += 1
                elif end.error is not None:
                    found.ends["invalid"] += 1
                    found.invalid.append(end)
                else:
                    found.ends["succeeded"] += 1
                    found.cost_usd += end.cost_usd
                    # Lines are read in this thread; several others store what they hold.
                    yield end

        with closing(lines):
            for _ in map_in_threads(cache.add, read(), _STORE_THREADS):
                pass
        # Of whom an unreadable line was, nobody can say: of the dearest who have no other.
        price = self._session.price
        costs = sorted(max_cost_usd(price, row, is_batch=True) for row in rows.values())
        found.cost_usd += sum(costs[::-1][: found.ends["unreadable"]])
        if rows and not found.ends["unreadable"]:
            found.ends["missing"] += len(rows)
        return found

    def _read_line(
        self, line: bytes, record: BatchRecord, rows: dict[str, BatchRow]
    ) -> StoredAnswer | str:
        """Return the answer of a line, or how else a row ended; a row that is told is taken out."""
        try:
            document = parse_object(line)
            name = document.get("custom_id")
            row = rows.get(name) if isinstance(name, str) else None
            if row is None:
                return "foreign" if isinstance(name, str) else "unreadable"
            end = self._read_result(document.get("result"), row, record)
        except UnreadableError as error:
            _logger.warning("batch %s holds a line that is %s", record.batch_id, error)
            return "unreadable"
        # Taken out, so that a row that is told twice counts once.
        del rows[row.custom_id]
        return end

    def _read_result(
        self, result: object, row: BatchRow, record: BatchRecord
    ) -> StoredAnswer | str:
        outcome: Mapping[str, Any] = result if isinstance(result, Mapping) else {}
        kind = str(outcome.get("type"))
        asked = Asked(record.account, "batch", record.model, record.instruction_version)
        if kind == "succeeded":
            price = self._session.price
            return StoredAnswer.of_message(row.to_key(), asked, outcome.get("message"), row, price)
        if kind == "errored":
            error: Any = outcome.get("error")
            # The API wraps an error of a row into another object of type "error".
            while isinstance(error, Mapping) and isinstance(error.get("error"), Mapping):
                error = error["error"]
            if isinstance(error, Mapping) and error.get("type") == "invalid_request_error":
                problem = quote(str(error.get("message")))
                return StoredAnswer.of_invalid(row.to_key(), asked, problem)
        if kind not in _NOTHING:
            raise UnreadableError(quote(f"a row of the type {kind[:100]}"))
        return kind

    def _list_candidates(self, record: BatchRecord) -> Iterator[str]:
        """Yield batches of the right time and size, newest first."""
        earliest, last_id = record.written_at - _MAX_CLOCK_SKEW, None
        for _ in range(_MAX_PAGES):
            after_id = last_id
            batches, has_more = self.pace.read(
                lambda after_id=after_id: self._session.api.list_batches(_PAGE, after_id)  # type: ignore[misc]
            )
            for batch in batches:
                created_at = _read_time(batch.get("created_at"))
                if created_at is not None and created_at < earliest:  # and so are all that follow
                    return
                last_id = batch["id"]
                if created_at is not None and _count_rows(batch) == len(record.rows):
                    yield batch["id"]
            # A page that brings nothing new would be asked for again and again.
            if not has_more or last_id == after_id:
                return

    def _holds(self, batch_id: str, record: BatchRecord) -> bool:
        """Say whether a batch has the rows of a record, once it has ended."""
        while (batch := self.look_up(batch_id)) is None or batch["processing_status"] != "ended":
            self.pace.sleep(self._session.patience.first_poll_seconds)
        if batch.get("results_url") is None:
            return False
        names = {row.custom_id for row in record.rows}
        max_bytes = bound_answer(max(row.max_output_tokens for row in record.rows))

        def read_first() -> bool:
            with closing(self._session.api.iter_results(batch_id, max_bytes)) as lines:
                for line in filter(bytes.strip, lines):
                    try:
                        return parse_object(line).get("custom_id") in names
                    except UnreadableError:
                        continue
            return False

        return self.pace.read(read_first)


def _read_time(value: object) -> datetime | None:
    try:
        when = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return when if when.tzinfo is not None else None


def _count_rows(batch: Mapping[str, Any]) -> int:
    counts = batch.get("request_counts")
    values = counts.values() if isinstance(counts, Mapping) else ()
    # `True` is an integer for Python as well, and is none here.
    return sum(value for value in values if type(value) is int)
