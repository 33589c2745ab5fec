"""The batches that wait to be harvested, whoever pays, and who may ask which question."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from coupled_core.splitting.llm.batch_record import BatchRecord, BatchRecords
from coupled_core.splitting.llm.request import LlmRequest

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
