"""`coupled query`: SQL over the rows of a snapshot."""

import csv
import json
import math
import shutil
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

from coupled_core.errors import ConfigError
from coupled_core.storage.store import ObjectStore
from flows.cli.command import SnapshotName, argument, command, option
from flows.cli.output import require_writable
from flows.cli.terminal import Terminal, told_when_output_fails

if TYPE_CHECKING:  # what imports arrow waits until the command runs
    import pyarrow as pa

_MAX_SHOWN_ROWS = 40


@command(
    examples="""
    coupled query "select variation_kind, count(*), avg(combined) from manifest where kept group by 1"
    coupled query s3://bucket/pairs "select * from manifest where not kept" -o dropped.parquet
    """  # noqa: E501
)
def query(
    terminal: Terminal,
    store: ObjectStore,
    sql: Annotated[str, argument("SQL", "One SELECT over the table manifest.")],
    snapshot: SnapshotName = "current",
    output: Annotated[
        Path | None,
        option("Write all rows to this file, .parquet or .csv.", "-o", metavar="<FILE>"),
    ] = None,
) -> None:
    """Ask the rows of a snapshot by SQL: the table `manifest` has a row a pair, kept and dropped.

    A terminal gets a table of the first and last rows, a pipe gets CSV, --json an object a row with
    null for infinities and NaN. The dialect is DuckDB's. Only the columns that the query names are
    read, from S3 with the credentials of every other command. A query can read the manifest and
    nothing else, and changes nothing. `coupled query "describe manifest"` lists the columns.
    """
    from coupled_core.dataset.query import open_query
    from coupled_core.dataset.reader import find_snapshot

    if output is not None:
        if output.suffix not in _WRITERS:
            raise ConfigError(f"cannot write {output}: expected a name in {' or '.join(_WRITERS)}")
        require_writable(output)
    found = find_snapshot(store, snapshot)
    with open_query(store, found, sql) as result:
        if output is not None:
            num_rows = _write(output, result.batches())
            document = {"output": str(output), "num_rows": num_rows}
            terminal.answer(
                f"{num_rows:,} rows in {output}", {**_origin(store, found.snapshot_id), **document}
            )
        elif terminal.as_json:
            batches = result.batches()
            rows = [row for batch in batches for row in _plain(batch.to_pylist())]
            document = {"columns": batches.schema.names, "rows": rows}
            terminal.answer("", {**_origin(store, found.snapshot_id), **document})
        elif sys.stdout.isatty():
            result.show(shutil.get_terminal_size().columns, _MAX_SHOWN_ROWS)
        else:
            with told_when_output_fails():
                _write_csv(sys.stdout, result.batches())
                sys.stdout.flush()


def _origin(store: ObjectStore, snapshot_id: str) -> dict[str, Any]:
    return {"dataset": store.uri, "snapshot_id": snapshot_id}


def _write(path: Path, batches: "pa.RecordBatchReader") -> int:
    """Write all rows to a file, which is there whole or not at all; return their number."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        num_rows = _WRITERS[path.suffix](unfinished, batches)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return num_rows


def _write_parquet_file(path: Path, batches: "pa.RecordBatchReader") -> int:
    import pyarrow.parquet as pq

    num_rows = 0
    with pq.ParquetWriter(path, batches.schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            num_rows += batch.num_rows
    return num_rows


def _write_csv_file(path: Path, batches: "pa.RecordBatchReader") -> int:
    with path.open("w", encoding="utf-8", newline="") as file:
        return _write_csv(file, batches)


def _write_csv(file: TextIO, batches: "pa.RecordBatchReader") -> int:
    """Write a line a row; lists and structures become JSON, null an empty field."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(batches.schema.names)
    num_rows = 0
    for batch in batches:
        columns = [column.to_pylist() for column in batch.columns]
        writer.writerows([_field(value) for value in row] for row in zip(*columns, strict=True))
        num_rows += batch.num_rows
    return num_rows


def _field(value: object) -> object:
    if isinstance(value, (list, dict)):
        return json.dumps(_plain(value), default=str)
    return value


def _plain(value: Any) -> Any:
    """Return what JSON can say: whole decimals, which sums are, as integers, infinity as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value


_WRITERS: dict[str, Callable[[Path, "pa.RecordBatchReader"], int]] = {
    ".parquet": _write_parquet_file,
    ".csv": _write_csv_file,
}
