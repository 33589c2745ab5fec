"""What is durable about a batch from before it is created until its answers are stored."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Self
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, ValidationError

from coupled_core.config import fingerprint
from coupled_core.errors import NotFoundError, StorageError
from coupled_core.splitting.llm.request import LlmRequest, name_row
from coupled_core.storage.store import ObjectStore

_OPEN, _FINISHED = "batches/", "finished-batches/"


class BatchRow(BaseModel):
    """One request of a batch, without its texts: those follow from the prompt set."""

    model_config = ConfigDict(frozen=True)

    request_sha256: str
    attempt: int
    group_id: str

    @property
    def custom_id(self) -> str:
        """Its name in the batch."""
        return name_row(self.request_sha256, self.attempt)


class BatchRecord(BaseModel):
    """A batch that was, or is about to be, created."""

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    account: str
    """Who pays."""
    purchase: str
    """Its name in the account's ledger."""
    model: str
    is_refresh: bool
    """Its answers replace those of other accounts."""
    rows: tuple[BatchRow, ...]
    written_at: datetime
    """Before the API was asked to create it."""
    batch_id: str | None = None
    """None: the API has not answered yet, or its answer was lost."""

    @classmethod
    def of_requests(
        cls, account: str, model: str, requests: Sequence[LlmRequest], *, is_refresh: bool
    ) -> Self:
        """Return the record of a batch that does not exist yet."""
        return cls(
            account=account,
            purchase=f"batch-{uuid4().hex}",
            model=model,
            is_refresh=is_refresh,
            rows=_rows_of(requests),
            written_at=datetime.now(UTC),
        )

    def narrowed_to(self, requests: Sequence[LlmRequest]) -> Self:
        """Return the record of the same batch with fewer requests."""
        return self.model_copy(update={"rows": _rows_of(requests)})

    @property
    def key(self) -> str:
        """Where it lies until it is harvested."""
        return f"{_OPEN}{self.purchase}.json"

    def to_bytes(self) -> bytes:
        """Return it as one JSON object."""
        return self.model_dump_json().encode()


class BatchRecords:
    """The batches of a cache that are not harvested yet, and the names of those that are."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def open_keys(self) -> Iterator[str]:
        """Yield the keys of batches that still wait to be harvested, whoever pays."""
        return (info.key for info in self._store.list(_OPEN))

    def read(self, key: str) -> BatchRecord | None:
        """Return a record; None: it was harvested meanwhile.

        Raises:
            StorageError: it is damaged.
        """
        try:
            return BatchRecord.model_validate_json(self._store.read(key))
        except NotFoundError:
            return None
        except ValidationError as error:
            raise StorageError(
                f"{self._store.uri}/{key} is damaged, and with it the name of a paid batch: "
                "delete it to have its requests made again"
            ) from error

    def announce(self, record: BatchRecord) -> None:
        """Store a record before its batch is created."""
        self._store.write(record.key, record.to_bytes())

    def name(self, record: BatchRecord, batch_id: str) -> BatchRecord:
        """Store the API's name of a batch, and return the record with it."""
        named = record.model_copy(update={"batch_id": batch_id})
        self._store.write(record.key, named.to_bytes())
        return named

    def withdraw(self, record: BatchRecord) -> None:
        """Forget a batch that was never created."""
        self._store.delete(record.key)

    def finish(self, record: BatchRecord, summary: bytes) -> None:
        """Mark a batch as harvested; the last step, all its answers and its cost are stored."""
        assert record.batch_id is not None, "only what has a name can have been harvested"
        self._store.write(_finished_key(record.batch_id), summary)
        self._store.delete(record.key)

    def is_finished(self, batch_id: str) -> bool:
        """Say whether a batch was harvested before."""
        return self._store.exists(_finished_key(batch_id))


def _rows_of(requests: Sequence[LlmRequest]) -> tuple[BatchRow, ...]:
    return tuple(
        BatchRow(
            request_sha256=request.request_sha256,
            attempt=request.attempt,
            group_id=request.group_id,
        )
        for request in requests
    )


def _finished_key(batch_id: str) -> str:
    return f"{_FINISHED}{fingerprint({'batch_id': batch_id})}.json"


_NAME_BYTES = 16
"""Of a custom_id that are kept in memory; a batch is told by its record, not by these."""


class OpenBatch:
    """What is remembered of a batch; its record is read again when it is harvested."""

    def __init__(self, record: BatchRecord) -> None:
        self.key, self.account = record.key, record.account
        self.batch_id, self.written_at = record.batch_id, record.written_at
        self._names = frozenset(_short_name(row.custom_id) for row in record.rows)

    @property
    def age_seconds(self) -> float:
        """Since it was announced, if clocks agree."""
        return (datetime.now(UTC) - self.written_at).total_seconds()

    def holds(self, request: LlmRequest) -> bool:
        """Say whether it asks a question."""
        return _short_name(request.custom_id) in self._names

    def shares_rows_with(self, other: "OpenBatch") -> bool:
        """Say whether both ask some question."""
        return not self._names.isdisjoint(other._names)


class OpenBatches:
    """The announced batches of a store, as they were at the last look.

    Two processes never both create batches that share a question: each announces its own, looks,
    and creates it only if it sees no other that shares one. Whoever announces second is sure to see
    the first, so this takes a store that lists what was written, and no conditional writes.
    """

    def __init__(self, records: BatchRecords) -> None:
        self._records = records
        self._batches: dict[str, OpenBatch] = {}

    def __getitem__(self, key: str) -> OpenBatch:
        return self._batches[key]

    def __contains__(self, key: str) -> bool:
        return key in self._batches

    def __iter__(self) -> Iterator[OpenBatch]:
        return iter(list(self._batches.values()))

    def look(self) -> None:
        """Learn which batches were announced, named or harvested since the last look."""
        keys = set(self._records.open_keys())
        for key in self._batches.keys() - keys:
            self.forget(key)
        for key in sorted(keys):
            known = self._batches.get(key)
            if known is None or known.batch_id is None:
                self.read_again(key)

    def read_again(self, key: str) -> BatchRecord | None:
        """Return the record of a batch; None: it was harvested or withdrawn, and is forgotten."""
        record = self._records.read(key)
        if record is None:
            self.forget(key)
        else:
            self.remember(record)
        return record

    def remember(self, record: BatchRecord) -> None:
        """Note a batch as its record says it is."""
        self._batches[record.key] = OpenBatch(record)

    def forget(self, key: str) -> None:
        """Note that a batch is no longer open."""
        self._batches.pop(key, None)

    def asking(self, request: LlmRequest) -> str | None:
        """Return the key of a batch that holds a request; None: there is none."""
        return next((batch.key for batch in self if batch.holds(request)), None)

    def claim(self, record: BatchRecord, *, patience_seconds: float, poll_seconds: float) -> bool:
        """Announce a batch; False: others ask some of it, and it is withdrawn again.

        Of two that were announced at once the first by key stands; the other one yields.

        Args:
            record: What shall be created.
            patience_seconds: How long one that should yield may take to be created or withdrawn:
                after that its process is dead.
            poll_seconds: Between looks.
        """
        self._records.announce(record)
        self.remember(record)
        deadline = time.monotonic() + patience_seconds
        while rivals := self._look_for_rivals(OpenBatch(record)):
            must_yield = any(rival.batch_id or rival.key < record.key for rival in rivals)
            if must_yield or time.monotonic() > deadline:
                self._records.withdraw(record)
                self.forget(record.key)
                return False
            time.sleep(poll_seconds)
        return True

    def _look_for_rivals(self, mine: OpenBatch) -> Sequence[OpenBatch]:
        self.look()
        return [other for other in self if other.key != mine.key and other.shares_rows_with(mine)]


def _short_name(custom_id: str) -> bytes:
    return bytes.fromhex(custom_id)[:_NAME_BYTES]
