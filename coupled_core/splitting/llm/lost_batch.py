"""Find a batch again whose creation was not answered: the API knows no idempotency key."""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from coupled_core.splitting.llm.batch_record import BatchRecord
from coupled_core.splitting.llm.pace import Pace, call_patiently

if TYPE_CHECKING:
    from anthropic import Anthropic
    from anthropic.types.messages import MessageBatch

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
