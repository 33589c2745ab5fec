"""The index of a folder as one Parquet file, written in bounded memory."""

from collections.abc import Iterable, Iterator
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq

from coupled_core.export.folder import ExportFolder, FileInfo
from coupled_core.export.folder_format import IndexRow
from coupled_core.export.plan import ExportPlan

_BATCH_ROWS = 10_000


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
    while batch := list(islice(left, _BATCH_ROWS)):
        yield batch
