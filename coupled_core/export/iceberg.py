"""A snapshot's manifest as an Iceberg table: its parts are named by the table, not copied.

Each published snapshot is one snapshot of the table and a tag of the same name, for time travel.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from coupled_core.dataset.columns import MANIFEST_SCHEMA
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.errors import ConfigError, ConflictError, DatasetError
from coupled_core.storage.store import ObjectStore

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table, Transaction

_SNAPSHOT_PROPERTY = "coupled.snapshot-id"
_TABLE_PROPERTIES = {
    "format-version": "2",
    # The files are the dataset's: expiring snapshots of the table must not delete them.
    "gc.enabled": "false",
}
_NAME_MAPPING = "schema.name-mapping.default"
"""Tells readers which column is which: the parts carry no field ids."""


@dataclass(frozen=True)
class Published:
    """What a publication changed; nothing where the table showed the snapshot already."""

    num_parts_added: int = 0
    num_parts_removed: int = 0
    num_rows: int = 0
    """Rows that the table shows now."""


def open_catalog(name: str) -> "Catalog":
    """Open a catalog by PyIceberg's own configuration.

    Raises:
        ConfigError: PyIceberg is not installed, or there is no such catalog.
    """
    try:
        from pyiceberg.catalog import load_catalog
    except ImportError as error:
        raise ConfigError(
            "tables of Iceberg need PyIceberg: install it with `pip install "
            "'coupled-images[iceberg]'`, in a checkout `pip install -c infra/constraints.txt "
            "'.[iceberg]'`"
        ) from error
    try:
        return load_catalog(name)
    except Exception as error:  # each kind of catalog has errors of its own
        raise ConfigError(
            f"cannot open the Iceberg catalog {name!r} ({type(error).__name__}: {error}): "
            f"configure it in .pyiceberg.yaml, or as PYICEBERG_CATALOG__{name.upper()}__URI"
        ) from error


def publish_snapshot(
    store: ObjectStore, snapshot: Snapshot, catalog: "Catalog", table_name: str
) -> Published:
    """Let a table show the rows of a snapshot, kept and dropped; make the table if there is none.

    Readers of the table see the state before or after.

    Raises:
        ConfigError: the name is not NAMESPACE.TABLE.
        ConflictError: another publication won.
        DatasetError: Iceberg refuses a part.
    """
    from pyiceberg.exceptions import CommitFailedException

    if "." not in table_name:
        raise ConfigError(f"cannot publish to {table_name!r}: expected NAMESPACE.TABLE")
    catalog.create_namespace_if_not_exists(table_name.rpartition(".")[0])
    schema = _documented_schema()
    table = catalog.create_table_if_not_exists(table_name, schema, properties=_TABLE_PROPERTIES)
    parts = snapshot.parts_of("manifest")
    total = sum(part.num_rows for part in parts)
    if _shown_snapshot(table) == snapshot.snapshot_id:
        return Published(num_rows=total)
    wanted = [_location(store.uri, part.key) for part in parts]
    try:
        with table.transaction() as transaction:
            added, removed = _exchange(transaction, table, schema, wanted, snapshot.snapshot_id)
        head = table.current_snapshot()
        if head is not None and snapshot.snapshot_id not in table.refs():
            with table.manage_snapshots() as refs:
                refs.create_tag(head.snapshot_id, snapshot.snapshot_id)
    except CommitFailedException as error:
        raise ConflictError(
            f"another writer changed table {table_name} at the same time: publish again"
        ) from error
    except (ValueError, OSError, pa.ArrowException) as error:
        raise DatasetError(
            f"Iceberg refuses parts of snapshot {snapshot.snapshot_id} for table {table_name}: "
            f"{error}"
        ) from error
    return Published(added, removed, total)


def _documented_schema() -> pa.Schema:
    """Return the manifest's schema with meanings where PyIceberg looks for them."""
    fields = (f.with_metadata({"doc": (f.metadata or {})[b"meaning"]}) for f in MANIFEST_SCHEMA)
    return pa.schema(list(fields))


def _shown_snapshot(table: "Table") -> str | None:
    head = table.current_snapshot()
    return None if head is None or head.summary is None else head.summary[_SNAPSHOT_PROPERTY]


def _exchange(
    transaction: "Transaction", table: "Table", schema: pa.Schema, wanted: list[str], name: str
) -> tuple[int, int]:
    """Name parts that are new and no longer those that are gone, in one snapshot of the table."""
    from pyiceberg.io.pyarrow import parquet_file_to_data_file

    shown = {task.file.file_path: task.file for task in table.scan().plan_files()}
    if _NAME_MAPPING not in table.properties:
        mapping = table.schema().name_mapping.model_dump_json()
        transaction.set_properties({_NAME_MAPPING: mapping})
    if _lacks_columns(table, schema.names):  # made by a version that knew fewer
        with transaction.update_schema() as update:
            update.union_by_name(schema)
    added = [path for path in wanted if path not in shown]
    removed = shown.keys() - {*wanted}
    properties: dict[str, Any] = {_SNAPSHOT_PROPERTY: name}
    # One overwrite for both: readers never see the new rows beside the old ones.
    with transaction.update_snapshot(properties).overwrite() as producer:
        for path in removed:
            producer.delete_data_file(shown[path])
        for path in added:
            data_file = parquet_file_to_data_file(table.io, transaction.table_metadata, path)
            producer.append_data_file(data_file)
    return len(added), len(removed)


def _lacks_columns(table: "Table", names: Iterable[str]) -> bool:
    return not {*names} <= {*table.schema().column_names}


def _location(uri: str, key: str) -> str:
    return f"{uri}/{key}" if "://" in uri else f"file://{uri}/{key}"
