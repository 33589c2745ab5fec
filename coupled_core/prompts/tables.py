"""What every format gives of a file of a prompt set, and how Parquet gives it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

_BATCH_ROWS = 1024
_SHOWN_CHARS = 60
_UNREADABLE = (ValueError, OverflowError, LookupError)  # the last: a time zone that nobody knows


class TableRow(NamedTuple):
    """One row by the names of its columns, with what was wrong with reading it."""

    values: dict[str, Any]
    problems: Sequence[str] = ()
    is_broken: bool = False
    """Its cells are not known for certain: what else is wrong with them means nothing."""


class Table(Protocol):
    """One file of rows."""

    @property
    def schema(self) -> pa.Schema:
        """Names and types of all columns."""

    @property
    def num_rows(self) -> int:
        """Rows of the file, broken ones among them."""

    def iter_rows(self) -> Iterator[TableRow]:
        """Yield the rows in order, in bounded memory."""


@dataclass(frozen=True)
class ParquetTable:
    """A Parquet file."""

    file: pq.ParquetFile

    @property
    def schema(self) -> pa.Schema:
        """Names and types of all columns."""
        return self.file.schema_arrow

    @property
    def num_rows(self) -> int:
        """Rows of the file."""
        return int(self.file.metadata.num_rows)

    def iter_rows(self) -> Iterator[TableRow]:
        """Yield the rows, holding one batch of them at a time."""
        for batch in self.file.iter_batches(batch_size=_BATCH_ROWS):
            yield from decode_batch(batch)


def decode_batch(batch: pa.RecordBatch) -> list[TableRow]:
    """Turn a batch into Python rows; cell by cell only where one cannot be had (not UTF-8)."""
    try:
        return [TableRow(row) for row in batch.to_pylist()]
    except _UNREADABLE:
        return [_decode_row(batch, index) for index in range(batch.num_rows)]


def shorten(value: object) -> str:
    """Return a value's repr, cut to a length that fits an error line."""
    # Cut before repr, which would copy a text of megabytes.
    text = repr(value if not isinstance(value, str) else value[: 2 * _SHOWN_CHARS])
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."


def describe_bytes(error: UnicodeDecodeError) -> str:
    """Return what is wrong with a cell whose bytes are not UTF-8, with those around the first."""
    shown = bytes(error.object)[max(0, error.start - 12) : error.end + 12]
    return f"got the bytes {shown!r}, expected valid UTF-8"


def _decode_row(batch: pa.RecordBatch, index: int) -> TableRow:
    row: dict[str, Any] = {}
    problems = []
    for name in batch.schema.names:
        cell = batch.column(name)[index]
        try:
            row[name] = cell.as_py()
        except UnicodeDecodeError as error:
            problems.append(f"column {name}: {describe_bytes(error)}")
            row[name] = None
        except _UNREADABLE as error:
            problems.append(f"column {name}: {error}; expected a value that Python can hold")
            row[name] = None
    return TableRow(row, problems)
