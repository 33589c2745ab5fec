"""What is asked of the Message Batches API: create a batch exactly once, look it up, read it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from coupled_core.errors import LlmError
from coupled_core.splitting.llm.batch_record import BatchRecord
from coupled_core.splitting.llm.client import (
    Pace,
    describe,
    is_rate_limit,
    is_transient,
    translate,
)
from coupled_core.splitting.llm.dialogue import Patience
from coupled_core.splitting.llm.request import LlmRequest

if TYPE_CHECKING:
    from anthropic import Anthropic
    from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse

_CREATE_TIMEOUT_SECONDS = 600.0
_MAX_TRIES = 10
_MAX_CLOCK_SKEW = timedelta(minutes=15)
_PAGE = 100


class BatchApi:
    """The batches of one API key; knows how to find one that it was not told about."""

    def __init__(
        self, client: "Anthropic", patience: Patience, is_known: Callable[[str], bool]
    ) -> None:
        """Make no request.

        Args:
            client: The API.
            patience: How long to look for lost batches.
            is_known: Says whether a batch id belongs to a record already.
        """
        self._batches, self._patience, self._is_known = client.messages.batches, patience, is_known
        self._creating = client.with_options(timeout=_CREATE_TIMEOUT_SECONDS).messages.batches
        self.pace = Pace()

    def create(self, record: BatchRecord, requests: Sequence[LlmRequest]) -> str:
        """Create the batch of an announced record and return its id.

        Raises:
            LlmError: there is no such batch, and there will be none.
        """
        from anthropic import APIError

        rows = [{"custom_id": each.key.custom_id, "params": each.params} for each in requests]
        for attempt in range(_MAX_TRIES):
            try:
                return self._creating.create(requests=rows).id  # type: ignore[arg-type]  # plain dicts do
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
        for seconds in self._patience.look_after_seconds:  # the API's list may lag behind
            self.pace.sleep(seconds)
            for batch_id in self._list_candidates(record):
                if not self._is_known(batch_id) and self._holds(batch_id, record):
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

    @contextmanager
    def results(self, batch_id: str) -> Iterator[Iterator["MessageBatchIndividualResponse"]]:
        """Open the results of an ended batch: a stream, in no order, row by row."""
        stream = self._batches.results(batch_id)
        try:
            yield iter(stream)
        finally:
            stream.close()

    def _list_candidates(self, record: BatchRecord) -> Iterator[str]:
        """Yield batches of the right time and size, newest first."""
        earliest = record.written_at - _MAX_CLOCK_SKEW
        page = self.pace.call(lambda: self._batches.list(limit=_PAGE))
        while True:
            for batch in page.data:
                if batch.created_at < earliest:
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
            self.pace.sleep(self._patience.first_poll_seconds)
        if batch.results_url is None:
            return False

        def read_first() -> str | None:
            with self.results(batch_id) as results:
                first = next(results, None)
                return None if first is None else first.custom_id

        return self.pace.call(read_first) in {row.custom_id for row in record.rows}
