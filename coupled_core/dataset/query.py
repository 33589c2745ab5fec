"""SQL over the manifest of one snapshot, by DuckDB, which sees these rows and nothing else."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as ds

from coupled_core.dataset.columns import MANIFEST_SCHEMA, OLD_NAMES
from coupled_core.dataset.parts import PartInfo
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.errors import ConfigError, CoupledError, DatasetError
from coupled_core.storage.ranged_reader import open_unbuffered_ranges
from coupled_core.storage.scratch import scratch_folder
from coupled_core.storage.store import ObjectStore

if TYPE_CHECKING:
    import duckdb

_LOCKED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": False,  # no file, no network, no other database
    "autoload_known_extensions": False,
    "autoinstall_known_extensions": False,
    "allow_community_extensions": False,
    "python_enable_replacements": False,  # else names of tables could be variables of ours
}
_PARTS = "parts_of_the_manifest"
"""What DuckDB calls the rows as they are stored; it says so where they cannot be read."""
_MAX_OPEN_PARTS = 16
_BATCH_ROWS = 4096


class Query:
    """The rows that a SELECT found; they come while they are read."""

    def __init__(self, relation: "duckdb.DuckDBPyRelation") -> None:
        self._relation = relation

    def batches(self) -> pa.RecordBatchReader:
        """Return the rows as Arrow, a few at a time."""
        return self._relation.to_arrow_reader(_BATCH_ROWS)

    def show(self, width: int, max_rows: int) -> None:
        """Print the first and last rows as a table; control characters in texts are escaped."""
        self._relation.show(max_width=width, max_rows=max_rows)


@contextmanager
def open_query(store: ObjectStore, snapshot: Snapshot, sql: str) -> Iterator[Query]:
    """Run one SELECT over the table `manifest`: the rows of a snapshot, kept and dropped.

    Only the columns that the query names are read, by way of the store, with the checksums of
    their pages. Errors that come while the rows are read inside the `with` are worded, too.

    Raises:
        ConfigError: the SQL is wrong, is no single SELECT, asks for more than the manifest, or
            DuckDB is not installed.
        DatasetError: a part is damaged.
        StorageError: a part cannot be read.
    """
    duckdb = _import_duckdb()
    failures: list[CoupledError] = []
    with scratch_folder("query") as folder:
        config = {**_LOCKED, "temp_directory": str(folder)}
        with duckdb.connect(config=config) as connection:
            connection.register(_PARTS, _open_parts(store, snapshot, failures))
            connection.execute(f"create view manifest as {_present_columns()}")
            # Last, since nothing can be set after it: the query itself could turn the locks off
            # otherwise.
            connection.execute("set lock_configuration = true")
            try:
                _require_select(connection, sql)
                yield Query(connection.sql(sql))
            except (duckdb.Error, pa.ArrowException) as error:
                raise _name_error(error, failures, store.uri) from error


def _import_duckdb() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise ConfigError(
            "queries need DuckDB: install it with `pip install 'coupled-images[query]'`, in a "
            "checkout `pip install -c infra/constraints.txt '.[query]'`"
        ) from error
    return duckdb


def _open_parts(
    store: ObjectStore, snapshot: Snapshot, failures: list[CoupledError]
) -> ds.FileSystemDataset:
    """Return the manifest as Arrow's dataset; no part is opened before it is read."""
    # Local files: too many would be open. Objects: each time it is opened costs a request.
    opened = lru_cache(_MAX_OPEN_PARTS)(store.open_input)
    checked = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    parquet = ds.ParquetFileFormat(default_fragment_scan_options=checked)
    parts = [_open_lazily(opened, part, failures) for part in snapshot.parts_of("manifest")]
    # Parts of earlier versions lack columns, which are null then, or call them otherwise.
    old = [MANIFEST_SCHEMA.field(new).with_name(name) for name, new in OLD_NAMES.items()]
    schema = pa.schema([field.with_nullable(True) for field in (*MANIFEST_SCHEMA, *old)])
    return ds.FileSystemDataset([parquet.make_fragment(part) for part in parts], schema, parquet)


def _present_columns() -> str:
    old = ", ".join(OLD_NAMES)
    renamed = ", ".join(f"coalesce({new}, {name}) as {new}" for name, new in OLD_NAMES.items())
    return f"select * exclude ({old}) replace ({renamed}) from {_PARTS}"


def _open_lazily(opened: Any, part: PartInfo, failures: list[CoupledError]) -> io.RawIOBase:
    """Return a part as a file that is opened at its first byte, without a buffer of its own."""

    def fetch(start: int, end: int) -> bytes:
        try:
            file = opened(part.key)
            file.seek(start)
            data: bytes = file.read(end - start)
        except CoupledError as error:
            failures.append(error)  # DuckDB hands on its text alone
            raise
        return data

    return open_unbuffered_ranges(part.size_bytes, fetch)


def _require_select(connection: "duckdb.DuckDBPyConnection", sql: str) -> None:
    kinds = [statement.type.name for statement in connection.extract_statements(sql)]
    if kinds != ["SELECT"]:
        raise ConfigError(
            f"expected one SELECT over the table manifest, got "
            f"{' and '.join(kinds) or 'no statement'}: queries change nothing"
        )


def _name_error(error: Exception, failures: Sequence[CoupledError], uri: str) -> Exception:
    import duckdb

    text = str(error)
    # The store's own error says more than DuckDB's about it.
    if failures:
        return failures[0]
    if isinstance(error, duckdb.OutOfMemoryException):
        return MemoryError(text)
    if f"'{_PARTS}'" in text or isinstance(error, pa.ArrowException):
        return DatasetError(
            f"the manifest of {uri} cannot be read: {text}; `coupled verify` names what is damaged"
        )
    if isinstance(error, duckdb.PermissionException):
        return ConfigError(f"{text}\na query reads the table manifest and nothing else")
    if isinstance(error, duckdb.CatalogException):
        text = f"{text}\nthe one table is manifest"
    elif "column" in text:
        text = f"{text}\nthe columns of manifest are: {', '.join(MANIFEST_SCHEMA.names)}"
    return ConfigError(text)
