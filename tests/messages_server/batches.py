"""Message Batches: created, polled, ended after a while, harvested in no particular order."""

import json
import random
import re
import threading
import time
import uuid
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.messages_server.api_errors import ApiError, ConnectionLostError, error_body
from tests.messages_server.counters import Counters
from tests.messages_server.faults import ANSWER_FAULTS, ROW_FAULTS
from tests.messages_server.messages import Model, check_request
from tests.messages_server.settings import Settings

MAX_REQUESTS = 100_000
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_COUNTED = ("succeeded", "errored", "expired", "canceled")


@dataclass
class _Batch:
    requests: Sequence[Mapping[str, Any]]
    ends_at: float
    is_lapsed: bool
    """It expires as a whole."""
    hidden_reads: int
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: str = field(default_factory=lambda: f"msgbatch_{uuid.uuid4().hex[:24]}")
    canceled: datetime | None = None
    ended: datetime | None = None
    counts: Counter[str] = field(default_factory=Counter)
    results: bytes = b""
    """JSON lines, deflated: a server by hand or in a benchmark keeps those of a million rows."""


class Batches:
    """All batches of the server; every method may raise `ApiError`."""

    def __init__(self, model: Model, counters: Counters) -> None:
        self._model, self._counters = model, counters
        self._batches: dict[str, _Batch] = {}
        self._lock = threading.RLock()
        self._num_created = 0

    def create(self, body: Mapping[str, Any], settings: Settings, base: str) -> dict[str, Any]:
        """Start a batch."""
        requests = body.get("requests")
        _check_rows(requests)
        assert isinstance(requests, list)
        with self._lock:
            number, self._num_created = self._num_created, self._num_created + 1
            batch = _Batch(
                requests,
                time.monotonic() + settings.batch_seconds,
                is_lapsed=number < settings.expired_batches,
                hidden_reads=settings.batch_not_found,
            )
            self._batches[batch.id] = batch
        if number < settings.lost_creates:
            raise ConnectionLostError
        return _describe(batch, base)

    def retrieve(self, batch_id: str, settings: Settings, base: str) -> dict[str, Any]:
        """Return how far a batch is."""
        with self._lock:
            batch = self._find(batch_id)
            if batch.hidden_reads > 0:
                batch.hidden_reads -= 1
                raise ApiError(404, f"batch {batch_id} not found")
            self._end_if_due(batch, settings)
            return _describe(batch, base)

    def cancel(self, batch_id: str, settings: Settings, base: str) -> dict[str, Any]:
        """Stop a batch; what is still open when it is next read is canceled."""
        with self._lock:
            batch = self._find(batch_id)
            self._end_if_due(batch, settings)
            if batch.ended is None and batch.canceled is None:
                batch.canceled, batch.ends_at = datetime.now(UTC), time.monotonic()
            return _describe(batch, base)

    def delete(self, batch_id: str) -> dict[str, Any]:
        """Forget an ended batch."""
        with self._lock:
            if self._find(batch_id).ended is None:
                raise ApiError(400, f"batch {batch_id} is in progress: cancel it first")
            del self._batches[batch_id]
        return {"id": batch_id, "type": "message_batch_deleted"}

    def page(self, query: Mapping[str, str], settings: Settings, base: str) -> dict[str, Any]:
        """Return a page, the newest batch first."""
        limit = int(query.get("limit", 20))
        with self._lock:
            newest = list(reversed(self._batches.values()))
            for batch in newest:
                self._end_if_due(batch, settings)
        ids = [batch.id for batch in newest]
        start = ids.index(query["after_id"]) + 1 if query.get("after_id") in ids else 0
        stop = start + limit
        if query.get("before_id") in ids:
            stop = ids.index(query["before_id"])
            start = max(stop - limit, 0)
        page = newest[start:stop]
        return {
            "data": [_describe(batch, base) for batch in page],
            "has_more": start > 0 if "before_id" in query else stop < len(newest),
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
        }

    def end_due(self, settings: Settings) -> None:
        """Process what is due though nobody polls: it is paid for all the same."""
        with self._lock:
            for batch in self._batches.values():
                self._end_if_due(batch, settings)

    def results(self, batch_id: str) -> Iterator[dict[str, Any]]:
        """Return the rows of an ended batch, shuffled."""
        with self._lock:
            batch = self._find(batch_id)
            if batch.ended is None:
                raise ApiError(404, f"batch {batch_id} has no results yet")
            lines = zlib.decompress(batch.results).splitlines()
        return map(json.loads, lines)

    def _find(self, batch_id: str) -> _Batch:
        if batch_id not in self._batches:
            raise ApiError(404, f"batch {batch_id} not found")
        return self._batches[batch_id]

    def _end_if_due(self, batch: _Batch, settings: Settings) -> None:
        if batch.ended is not None or time.monotonic() < batch.ends_at:
            return
        results = [self._process(row, batch, settings) for row in batch.requests]
        random.Random(f"{settings.seed}:{batch.id}").shuffle(results)
        batch.counts = Counter(row["result"]["type"] for row in results)
        batch.results = zlib.compress("\n".join(map(json.dumps, results)).encode(), level=1)
        batch.ended, batch.requests = datetime.now(UTC), ()

    def _process(self, row: Mapping[str, Any], batch: _Batch, settings: Settings) -> dict[str, Any]:
        result = self._answer_row(row, batch, settings)
        self._counters.row(result["type"])
        return {"custom_id": row["custom_id"], "result": result}

    def _answer_row(
        self, row: Mapping[str, Any], batch: _Batch, settings: Settings
    ) -> dict[str, Any]:
        if batch.canceled is not None:
            return {"type": "canceled"}
        if batch.is_lapsed:
            return {"type": "expired"}
        try:
            check_request(row["params"])
        except ApiError as error:
            return {"type": "errored", "error": error.body}
        faults = self._model.find_faults(row["params"], settings, ROW_FAULTS | ANSWER_FAULTS)
        for name, kind in (("expire", "expired"), ("cancel", "canceled")):
            if name in faults:
                return {"type": kind}
        if "error" in faults:
            return {"type": "errored", "error": error_body("api_error", "Internal server error")}
        if "invalid" in faults:
            wrong = error_body("invalid_request_error", "scripted invalid request")
            return {"type": "errored", "error": wrong}
        message = self._model.answer(row["params"], faults, "batch", row["custom_id"])
        return {"type": "succeeded", "message": message}


def _check_rows(requests: Any) -> None:
    if not isinstance(requests, list) or not requests:
        raise ApiError(400, "requests: expected at least one request")
    if len(requests) > MAX_REQUESTS:
        raise ApiError(400, f"requests: got {len(requests)}, expected at most {MAX_REQUESTS}")
    ids = [row.get("custom_id") for row in requests]
    for custom_id in ids:
        if not isinstance(custom_id, str) or not _CUSTOM_ID.fullmatch(custom_id):
            raise ApiError(400, f"custom_id {custom_id!r}: expected 1 to 64 of a-z A-Z 0-9 _ -")
    if len(set(ids)) < len(ids):
        raise ApiError(400, "custom_id: expected a different one for each request")


def _describe(batch: _Batch, base: str) -> dict[str, Any]:
    counts = dict.fromkeys(("processing", *_COUNTED), 0)
    counts |= batch.counts
    counts["processing"] = len(batch.requests)
    running = "in_progress" if batch.canceled is None else "canceling"
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": "ended" if batch.ended else running,
        "request_counts": counts,
        "created_at": _write_time(batch.created),
        "expires_at": _write_time(batch.created + timedelta(hours=24)),
        "ended_at": _write_time(batch.ended),
        "cancel_initiated_at": _write_time(batch.canceled),
        "archived_at": None,
        "results_url": f"{base}/v1/messages/batches/{batch.id}/results" if batch.ended else None,
    }


def _write_time(when: datetime | None) -> str | None:
    return when.isoformat() if when else None
