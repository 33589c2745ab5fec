"""What is durable about a batch from before it is created until its answers are stored."""

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
