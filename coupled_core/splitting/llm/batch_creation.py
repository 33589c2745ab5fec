"""Create a batch exactly once: announced before, named after, looked for when it got lost."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from coupled_core.errors import LlmError
from coupled_core.splitting.llm.batch_record import BatchRecord
from coupled_core.splitting.llm.claims import Lease
from coupled_core.splitting.llm.client import describe, translate
from coupled_core.splitting.llm.pace import Pace, call_patiently, wait_after
from coupled_core.splitting.llm.request import LlmRequest

if TYPE_CHECKING:
    from anthropic import Anthropic
    from anthropic.types.messages import MessageBatch

if TYPE_CHECKING:
    from anthropic import Anthropic, APIError


_MAX_CLOCK_SKEW = timedelta(minutes=15)
_PAGE = 100


def find_lost_batch(
    client: "Anthropic",
    pace: Pace,
    record: BatchRecord,
    is_known: Callable[[str], bool],
    *,
    look_after_seconds: Sequence[float],
    poll_seconds: float,
) -> str | None:
    """Return the id of the batch that was created for a record; None: there is none.

    Batches have no names of ours until they end, only their rows have. So each batch of that time
    with as many rows is a candidate, is waited for, and told by its first result. That costs
    patience where somebody else's batch looks alike, and never money.

    Args:
        client: The API.
        pace: Of requests.
        record: What was announced before the creation.
        is_known: Says whether a batch belongs to another record.
        look_after_seconds: Pauses before each look at the list, which may lag behind.
        poll_seconds: Pause between two looks at a candidate that runs.
    """
    names = {row.custom_id for row in record.rows}
    for seconds in look_after_seconds:
        pace.sleep(seconds)
        for batch in _list_candidates(client, pace, record):
            if not is_known(batch.id) and _holds(client, pace, batch.id, names, poll_seconds):
                return batch.id
    return None


def look_up_batch(client: "Anthropic", pace: Pace, batch_id: str) -> "MessageBatch | None":
    """Return a batch; None: the API does not know it, for a moment after its creation at least."""
    from anthropic import NotFoundError

    def retrieve() -> "MessageBatch | None":
        try:
            return client.messages.batches.retrieve(batch_id)
        except NotFoundError:
            return None

    return call_patiently(pace, retrieve)


def _list_candidates(
    client: "Anthropic", pace: Pace, record: BatchRecord
) -> Iterator["MessageBatch"]:
    """Yield batches of the right time and size, newest first."""
    earliest = record.written_at - _MAX_CLOCK_SKEW
    page = call_patiently(pace, lambda: client.messages.batches.list(limit=_PAGE))
    while True:
        for batch in page.data:
            if batch.created_at < earliest:
                return
            counts = batch.request_counts
            num_rows = counts.processing + counts.succeeded + counts.errored
            if num_rows + counts.canceled + counts.expired == len(record.rows):
                yield batch
        if not page.has_next_page():
            return
        page = call_patiently(pace, page.get_next_page)


def _holds(
    client: "Anthropic", pace: Pace, batch_id: str, names: Collection[str], poll_seconds: float
) -> bool:
    """Say whether a batch has our rows, once it has ended."""
    batch = look_up_batch(client, pace, batch_id)
    while batch is None or batch.processing_status != "ended":
        pace.sleep(poll_seconds)
        batch = look_up_batch(client, pace, batch_id)
    if batch.results_url is None:
        return False
    results = call_patiently(pace, lambda: client.messages.batches.results(batch_id))
    try:
        first = next(iter(results), None)
    finally:
        results.close()
    return first is not None and first.custom_id in names


CREATE_TIMEOUT_SECONDS = 600.0
_MAX_TRIES = 10
_SURELY_NOT_CREATED = {429}


@dataclass(frozen=True)
class Patience:
    """How long to wait for what; tests wait less."""

    first_poll_seconds: float = 1.0
    max_poll_seconds: float = 60.0
    look_after_seconds: Sequence[float] = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
    """Before each look for a batch whose creation was not answered: lists may lag behind."""
    twin_seconds: float = CREATE_TIMEOUT_SECONDS
    """How long another process may need between announcing a batch and naming it."""
    lease: Lease = field(default_factory=Lease)
    """Of questions asked online."""


class BatchCreator:
    """Asks the API for batches; knows how to find one that it was not told about."""

    def __init__(
        self,
        client: "Anthropic",
        pace: Pace,
        is_known: Callable[[str], bool],
        patience: Patience,
    ) -> None:
        """Take what is needed.

        Args:
            client: The API.
            pace: Of requests.
            is_known: Says whether a batch id belongs to a record of its own already.
            patience: How long to look for lost batches.
        """
        self._client, self._pace = client, pace
        self._is_known, self._patience = is_known, patience

    def create(self, record: BatchRecord, requests: Sequence[LlmRequest]) -> str:
        """Create the batch of an announced record and return its id.

        Raises:
            LlmError: there is no such batch, and there will be none.
        """
        from anthropic import APIError

        for attempt in range(_MAX_TRIES):
            try:
                return self._post(requests)
            except APIError as error:
                last = describe(error)
                if not _is_transient_for_creation(error):
                    raise LlmError(f"no batch was created: {translate(error)}") from None
                found = None if _is_refused(error) else self.find(record)
                if found is not None:
                    return found
                wait_after(self._pace, error, attempt)
                self._pace.wait_for_turn()
        raise LlmError(
            f"no batch could be created in {_MAX_TRIES} tries, at last {last}: run the same "
            "command again later"
        )

    def find(self, record: BatchRecord) -> str | None:
        """Return the id of a batch whose creation was not answered; None: it does not exist."""
        return find_lost_batch(
            self._client,
            self._pace,
            record,
            self._is_known,
            look_after_seconds=self._patience.look_after_seconds,
            poll_seconds=self._patience.first_poll_seconds,
        )

    def _post(self, requests: Sequence[LlmRequest]) -> str:
        rows = [{"custom_id": request.custom_id, "params": request.params} for request in requests]
        batches = self._client.with_options(timeout=CREATE_TIMEOUT_SECONDS).messages.batches
        return batches.create(requests=rows).id  # type: ignore[arg-type]  # plain dicts do


def _is_refused(error: "APIError") -> bool:
    return getattr(error, "status_code", None) in _SURELY_NOT_CREATED


def _is_transient_for_creation(error: "APIError") -> bool:
    status = getattr(error, "status_code", None)
    return status is None or status in {408, 409, *_SURELY_NOT_CREATED} or status >= 500
