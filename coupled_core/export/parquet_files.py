"""Parquet files of an export, written and read in bounded memory: shards of edits, and indices."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from coupled_core.export.edits import DirectedEdit, ImageFile, SeenEdit
from coupled_core.export.folder import ExportFolder, FileInfo
from coupled_core.export.folder_format import IndexRow
from coupled_core.export.plan import ExportPlan

_READ_BYTES = 2**20
_ROW_GROUP_BYTES = 16 << 20
"""Image bytes at which a row group is closed; readers and we hold one, and some copies of it."""
_ROW_GROUP_ROWS = 1000
_INDEX_BATCH_ROWS = 10_000
_IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])


@dataclass(frozen=True)
class Field:
    """One column of a shard of edits."""

    name: str
    type: pa.DataType
    value: Callable[[DirectedEdit], Any]
    meaning: str

    @property
    def feature(self) -> dict[str, Any]:
        """What `datasets` makes of it."""
        if self.type == _IMAGE:
            return {"_type": "Image"}
        # Arrow writes "double" and "bool", `datasets` has names of its own.
        names = {pa.float64(): "float64", pa.bool_(): "bool"}
        return {"_type": "Value", "dtype": names.get(self.type, str(self.type))}


def image_column(name: str, image_of: Callable[[DirectedEdit], ImageFile], meaning: str) -> Field:
    """Return a column of encoded images, which `datasets` decodes."""

    def value(edit: DirectedEdit) -> dict[str, Any]:
        image = image_of(edit)
        return {"bytes": image.data, "path": f"{image.name}.{image.extension}"}

    return Field(name, _IMAGE, value, meaning)


def shard_schema(columns: Sequence[Field]) -> pa.Schema:
    """Return the schema, features included in the metadata key `huggingface`."""
    features = {column.name: column.feature for column in columns}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema([pa.field(c.name, c.type) for c in columns], metadata=metadata)


class ParquetShard:
    """A shard that is being written; it appears under its name when it is closed."""

    def __init__(self, path: str, columns: Sequence[Field], folder: ExportFolder) -> None:
        self._columns = columns
        self._schema = shard_schema(columns)
        self._file = folder.stage(path)
        images = [column.name for column in columns if column.type == _IMAGE]
        others = [column.name for column in columns if column.type != _IMAGE]
        # Images are compressed already; dictionaries and statistics of them would only cost space.
        self._writer = pq.ParquetWriter(
            self._file.path,
            self._schema,
            compression={name: "zstd" for name in others}
            | {f"{name}.{leaf}": "none" for name in images for leaf in ("bytes", "path")},
            use_dictionary=others,
            write_statistics=others,
        )
        self._rows: list[dict[str, Any]] = []
        self._num_bytes = 0

    def add(self, edit: DirectedEdit) -> None:
        """Write an edit."""
        self._rows.append({column.name: column.value(edit) for column in self._columns})
        self._num_bytes += len(edit.source.data) + len(edit.target.data)
        if self._num_bytes >= _ROW_GROUP_BYTES or len(self._rows) >= _ROW_GROUP_ROWS:
            self._flush()

    def close(self) -> tuple[FileInfo, ...]:
        """Finish the shard."""
        self._flush()
        self._writer.close()
        return (self._file.publish(),)

    def abort(self) -> None:
        """Drop the shard."""
        with suppress(OSError):  # a full disk has been reported by now
            self._writer.close()
        self._file.discard()

    def _flush(self) -> None:
        if self._rows:
            table = pa.Table.from_pylist(self._rows, schema=self._schema)
            self._rows, self._num_bytes = [], 0  # the table has a copy of the images
            self._writer.write_table(table, row_group_size=table.num_rows)


def read_shards(
    paths: Sequence[Path], seen_of: Callable[[dict[str, Any]], SeenEdit], columns: Sequence[str]
) -> Iterator[SeenEdit]:
    """Read shards back, a few rows at a time."""
    for path in paths:
        # One row group at a time, and buffered: else pyarrow reads ahead until it holds the shard.
        with pq.ParquetFile(path, buffer_size=_READ_BYTES) as file:
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(8, [group], list(columns), use_threads=False):
                    for index in range(batch.num_rows):
                        yield seen_of(batch.slice(index, 1).to_pylist()[0])


def write_parquet_index(folder: ExportFolder, plan: ExportPlan, path: str) -> FileInfo:
    """Write the index rows of all units; their types come from the first batch."""
    batches = _batches(folder.iter_index(plan.num_pairs_by_unit))
    first = pa.Table.from_pylist(next(batches))
    staged = folder.stage(path)
    with pq.ParquetWriter(staged.path, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for rows in batches:
            writer.write_table(pa.Table.from_pylist(rows, schema=first.schema))
    return staged.publish()


def _batches(rows: Iterable[IndexRow]) -> Iterator[list[IndexRow]]:
    left = iter(rows)
    while batch := list(islice(left, _INDEX_BATCH_ROWS)):
        yield batch
