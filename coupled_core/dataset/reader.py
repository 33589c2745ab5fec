"""Read a dataset the way every reader must: pointer, then snapshot, then parts."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from coupled_core.dataset.columns import IMAGES_SCHEMA, MANIFEST_SCHEMA
from coupled_core.dataset.part_files import PART_ERRORS, PartKind, iter_rows, open_part
from coupled_core.dataset.parts import PartInfo
from coupled_core.dataset.pointer import POINTER_KEY, read_pointer
from coupled_core.dataset.snapshot import Snapshot, snapshot_key
from coupled_core.errors import DatasetError, NotFoundError
from coupled_core.id_set import IdSet
from coupled_core.storage.store import ObjectStore


def load_snapshot(store: ObjectStore, snapshot_id: str) -> Snapshot:
    """Read a snapshot.

    Raises:
        DatasetError: it is missing or damaged.
    """
    try:
        data = store.read(snapshot_key(snapshot_id))
    except NotFoundError as error:
        raise DatasetError(
            f"snapshot {snapshot_id} of {store.uri} is missing: restore "
            f"{snapshot_key(snapshot_id)}, or point {POINTER_KEY} to another snapshot"
        ) from error
    return Snapshot.from_bytes(data, snapshot_id)


def current_snapshot(store: ObjectStore) -> Snapshot | None:
    """Return the state that readers see; None: the dataset is empty."""
    pointer = read_pointer(store)
    return None if pointer is None else load_snapshot(store, pointer.snapshot_id)


def iter_history(store: ObjectStore) -> Iterator[Snapshot]:
    """Yield the current snapshot and its ancestors, newest first, as far back as they are kept."""
    snapshot = current_snapshot(store)
    while snapshot is not None:
        yield snapshot
        parent = snapshot.parent
        is_kept = parent is not None and store.exists(snapshot_key(parent))
        snapshot = load_snapshot(store, parent) if parent and is_kept else None


def iter_manifest(
    store: ObjectStore,
    parts: Iterable[PartInfo],
    columns: Sequence[str] | None = None,
    batch_rows: int = 8192,
) -> Iterator[pa.RecordBatch]:
    """Yield manifest rows part by part in the present schema; columns that old parts lack are null.

    Args:
        store: The dataset.
        parts: Such as `snapshot.parts`; other kinds are passed over.
        columns: Names to read; None: all.
        batch_rows: Most rows in memory at a time.
    """
    names = list(columns or MANIFEST_SCHEMA.names)
    schema = pa.schema([MANIFEST_SCHEMA.field(name) for name in names])
    for part in parts:
        if part.kind == "manifest":
            for batch in _iter_part(store, part, names, batch_rows):
                yield _with_schema(batch, schema)


def iter_images(
    store: ObjectStore,
    parts: Iterable[PartInfo],
    batch_rows: int = 8,
    kind: PartKind = "images",
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the image parts, few at a time.

    After a re-cut they may hold pairs that are no longer kept: the manifest's `kept` decides.
    """
    for part in parts:
        if part.kind == kind:
            yield from _iter_part(store, part, None, batch_rows)


def part_pair_ids(store: ObjectStore, part: PartInfo) -> list[str]:
    """Return the ids of a manifest part in the order of its rows."""
    batches = iter_manifest(store, [part], ["pair_id"])
    return [pair_id for batch in batches for pair_id in batch.column(0).to_pylist()]


def committed_pair_ids(store: ObjectStore, snapshot: Snapshot | None) -> IdSet:
    """Return every pair_id of a snapshot, whatever became of the pair."""
    parts = snapshot.parts_of("manifest") if snapshot else ()
    return IdSet(part_pair_ids(store, part) for part in parts)


def _iter_part(
    store: ObjectStore, part: PartInfo, columns: list[str] | None, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    try:
        with store.open_input(part.key) as source, open_part(source) as file:
            _check_outside(store, part, source.seek(0, os.SEEK_END), file)
            present = columns and [name for name in columns if name in file.schema_arrow.names]
            yield from iter_rows(file, batch_rows, present)
    except NotFoundError as error:
        raise DatasetError(f"part {store.uri}/{part.key} is missing: restore it") from error
    except PART_ERRORS as error:
        raise DatasetError(f"part {store.uri}/{part.key} is damaged: {error}") from error


def _check_outside(store: ObjectStore, part: PartInfo, size_bytes: int, file: Any) -> None:
    """Refuse a part that is another one, or whose columns cannot be told from damaged ones.

    What is in its pages is guarded by checksums; the names of columns in its footer are not. An old
    part lacks columns, one of a newer version has more than we know: none is both.
    """
    where = f"part {store.uri}/{part.key} is damaged"
    if (size_bytes, file.metadata.num_rows) != (part.size_bytes, part.num_rows):
        raise DatasetError(
            f"{where}: expected {part.num_rows} rows in {part.size_bytes} bytes, got "
            f"{file.metadata.num_rows} in {size_bytes}"
        )
    known = (MANIFEST_SCHEMA if part.kind == "manifest" else IMAGES_SCHEMA).names
    found = file.schema_arrow.names
    if (unknown := {*found} - {*known}) and (missing := {*known} - {*found}):
        raise DatasetError(
            f"{where}: it has columns {sorted(unknown)} and lacks {sorted(missing)}, which no "
            "version wrote"
        )


def _with_schema(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns: list[Any] = [
        batch.column(field.name).cast(field.type)
        if field.name in batch.schema.names
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.record_batch(columns, schema=schema)
