"""What is durable about a batch from before it is created until its answers are stored."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Self
from uuid import uuid4

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from coupled_core.config import fingerprint
from coupled_core.errors import NotFoundError, StorageError
from coupled_core.llm.dialogue import Patience, Session
from coupled_core.llm.question import Bounds, Question, RequestKey
from coupled_core.storage.store import ObjectStore

_OPEN, _FINISHED = "batches/", "finished-batches/"


class BatchRow(RequestKey, Bounds):
    """A question without its words, which follow from its subject, and what it can cost."""

    def to_key(self) -> RequestKey:
        """Return its name alone."""
        return RequestKey(**self.model_dump(include=set(RequestKey.model_fields)))


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
    instruction_version: str = "2"
    """That of all batches from before it was noted here."""
    rows: tuple[BatchRow, ...]
    written_at: AwareDatetime
    """A moment before the API was asked to create it."""
    batch_id: str | None = None
    """None: the API has not answered yet, or its answer was lost."""

    @classmethod
    def of_questions(cls, session: Session, questions: Sequence[Question]) -> Self:
        """Return the record of a batch that does not exist yet."""
        return cls(
            account=session.account,
            purchase=f"batch-{uuid4().hex}",
            model=session.config.model,
            is_refresh=session.config.refresh,
            instruction_version=questions[0].version,
            rows=tuple(
                BatchRow(**each.key.model_dump(), **each.bounds.model_dump()) for each in questions
            ),
            written_at=datetime.now(UTC),
        )

    @property
    def key(self) -> str:
        """Where it lies until it is harvested."""
        return f"{_OPEN}{self.purchase}.json"


class OpenBatch:
    """What is remembered of a batch; its record is read again when it is harvested."""

    def __init__(self, record: BatchRecord) -> None:
        self.key, self.account = record.key, record.account
        self.batch_id, self.written_at = record.batch_id, record.written_at
        # 16 bytes a row: many batches of 10,000 rows are in memory at a time.
        self.row_names = frozenset(_shorten(row.custom_id) for row in record.rows)
        """The first bytes of each custom_id. A row that is harvested is told by the record."""

    @property
    def age_seconds(self) -> float:
        """Time since it was announced, as far as clocks agree."""
        return (datetime.now(UTC) - self.written_at).total_seconds()


class BatchRegister:
    """The batches of a cache that are not harvested yet, as they were at the last look.

    Two processes never both create batches that share a question: each announces its own, looks,
    and creates it only if it sees no other that shares one. Whoever announces second is sure to see
    the first, so this takes a store that lists what was written, and no conditional writes.
    """

    def __init__(self, store: ObjectStore) -> None:
        """Look at the store."""
        self._store = store
        self._batches: dict[str, OpenBatch] = {}
        self.look()

    def __iter__(self) -> Iterator[OpenBatch]:
        return iter(list(self._batches.values()))

    def get(self, key: str) -> OpenBatch | None:
        """Return an open batch; None: it is not open any more."""
        return self._batches.get(key)

    def look(self) -> None:
        """Learn which batches were announced, named or harvested since the last look."""
        keys = {info.key for info in self._store.list(_OPEN)}
        for key in self._batches.keys() - keys:
            del self._batches[key]
        for key in sorted(keys):
            known = self._batches.get(key)
            # Once a batch has a name, its record stays as it is until it is harvested.
            if known is None or known.batch_id is None:
                self.read(key)

    def read(self, key: str) -> BatchRecord | None:
        """Return the record of a batch; None: it was harvested or withdrawn meanwhile.

        Raises:
            StorageError: it is damaged.
        """
        try:
            record = BatchRecord.model_validate_json(self._store.read(key))
        except NotFoundError:
            self._batches.pop(key, None)
            return None
        except ValidationError as error:
            raise StorageError(
                f"{self._store.uri}/{key} is damaged, and with it the name of a paid batch: "
                "delete it to have its requests made again"
            ) from error
        self._batches[key] = OpenBatch(record)
        return record

    def write(self, record: BatchRecord) -> None:
        """Announce a batch before it is created, and store its name after."""
        self._store.write(record.key, record.model_dump_json().encode())
        self._batches[record.key] = OpenBatch(record)

    def withdraw(self, record: BatchRecord) -> None:
        """Forget a batch that was never created."""
        self._store.delete(record.key)
        self._batches.pop(record.key, None)

    def finish(self, record: BatchRecord, summary: bytes) -> None:
        """Mark a batch as harvested; the last step, all its answers and its cost are stored."""
        assert record.batch_id is not None, "only what has a name can have been harvested"
        # The mark before the record goes: a batch that is in neither place would pass for a lost
        # one.
        self._store.write(_finished_key(record.batch_id), summary)
        self.withdraw(record)

    def is_known(self, batch_id: str) -> bool:
        """Say whether a batch of the API's is a record's of ours, open or harvested."""
        is_open = any(batch.batch_id == batch_id for batch in self)
        return is_open or self._store.exists(_finished_key(batch_id))

    def find_asking(self, key: RequestKey) -> str | None:
        """Return the key of an open batch that holds a question; None: there is none."""
        name = _shorten(key.custom_id)
        return next((batch.key for batch in self if name in batch.row_names), None)

    def claim(self, record: BatchRecord, patience: Patience) -> bool:
        """Announce a batch; False: others ask some of it, and it is withdrawn again.

        Of two that were announced at once the first by key stands; the other one yields.
        """
        # Announce, then look: with the other order two processes could both look, see nothing, and
        # create.
        self.write(record)
        mine = self._batches[record.key]
        deadline = time.monotonic() + patience.twin_seconds
        while rivals := self._look_for_rivals(mine):
            must_yield = any(rival.batch_id or rival.key < mine.key for rival in rivals)
            # One that should yield and does neither that nor its work is of a dead process.
            if must_yield or time.monotonic() > deadline:
                self.withdraw(record)
                return False
            time.sleep(patience.first_poll_seconds)
        return True

    def _look_for_rivals(self, mine: OpenBatch) -> list[OpenBatch]:
        self.look()
        return [
            other
            for other in self
            if other.key != mine.key and not mine.row_names.isdisjoint(other.row_names)
        ]


def _finished_key(batch_id: str) -> str:
    return f"{_FINISHED}{fingerprint({'batch_id': batch_id})}.json"


def _shorten(custom_id: str) -> bytes:
    return bytes.fromhex(custom_id)[:16]
