"""`coupled publish`: a snapshot for readers that go through a catalog."""

from dataclasses import asdict
from typing import Annotated

from coupled_core.errors import ConfigError
from coupled_core.storage.store import ObjectStore
from flows.cli.command import SnapshotName, argument, command, option
from flows.cli.terminal import Terminal


@command(examples="coupled publish s3://bucket/pairs iceberg --catalog lake --table images.pairs")
def publish(
    terminal: Terminal,
    store: ObjectStore,
    kind: Annotated[str, argument("KIND", "What to publish to: iceberg.")],
    table: Annotated[str, option("NAMESPACE.TABLE; made if there is none.", "--table")],
    catalog: Annotated[str, option("A catalog of PyIceberg's configuration.")] = "default",
    snapshot: SnapshotName = "current",
) -> None:
    """Let an Iceberg table show the rows of a snapshot: Spark, Trino, Snowflake and DuckDB read it.

    Nothing is copied: the table names the manifest's parts where they lie. Each publication is a
    snapshot of the table, and a tag with the name of the dataset's; publishing again does nothing.
    `coupled gc` removes parts of old snapshots, and time travel to them ends. Credentials and
    catalogs are PyIceberg's: .pyiceberg.yaml, or PYICEBERG_CATALOG__NAME__URI.
    """
    from coupled_core.dataset.reader import find_snapshot
    from coupled_core.export.iceberg import open_catalog, publish_snapshot

    if kind != "iceberg":
        raise ConfigError(f"cannot publish to {kind!r}: expected iceberg")
    found = find_snapshot(store, snapshot)
    published = publish_snapshot(store, found, open_catalog(catalog), table)
    changed = published.num_parts_added or published.num_parts_removed
    done = f"{published.num_parts_added:,} parts added, {published.num_parts_removed:,} removed"
    text = f"table {table} shows snapshot {found.snapshot_id}, {published.num_rows:,} rows: "
    origin = {"dataset": store.uri, "snapshot_id": found.snapshot_id, "table": table}
    terminal.answer(text + (done if changed else "nothing to do"), {**origin, **asdict(published)})
