"""Read a dataset the way every reader must: pointer, then snapshot, then parts."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from coupled_core.dataset.columns import (
    MANIFEST_SCHEMA,
    present_names,
)
from coupled_core.dataset.parts import PART_ERRORS, PartInfo, iter_batches, open_part
from coupled_core.dataset.pointer import POINTER_KEY, Pointer, read_pointer
from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import (
    SNAPSHOT_FOLDER,
    Snapshot,
    parse_snapshot_key,
    snapshot_key,
)
from coupled_core.errors import ConfigError, DatasetError, NotFoundError
from coupled_core.storage.store import ObjectInfo, ObjectStore

_IMAGE_ROWS = 4
"""Rows of images in memory at a time, beside the row group that they come from."""


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


def find_snapshot(store: ObjectStore, name: str = "current") -> Snapshot:
    """Return the snapshot that a person means.

    Args:
        name: An id or the beginning of one, "current", "parent" (what current followed) or
            "previous" (what the pointer named before it was last moved).

    Raises:
        ConfigError: none or several are meant.
        DatasetError: the dataset is empty, or the snapshot is damaged.
    """
    pointer = read_pointer(store)
    if pointer is None:
        raise DatasetError(f"{store.uri} holds no dataset: build one with `coupled build`")
    return load_snapshot(store, _resolve_name(store, pointer, name))


def _resolve_name(store: ObjectStore, pointer: Pointer, name: str) -> str:
    if name == "current":
        return pointer.snapshot_id
    if name in ("parent", "previous"):
        parent = load_snapshot(store, pointer.snapshot_id).parent
        found = parent if name == "parent" else pointer.previous
        if found is None:
            why = "is the first" if name == "parent" else "is the only one that readers have seen"
            raise ConfigError(
                f"there is no {name} snapshot: {pointer.snapshot_id}, the current one, {why}; "
                f"name another of `coupled snapshots --dataset {store.uri}`"
            )
        return found
    matches = [each for each in list_snapshot_files(store) if each.startswith(name)]
    if len(matches) != 1:
        raise ConfigError(
            f"{len(matches) or 'no'} snapshots begin with {name!r}: expected current, parent, "
            f"previous, or the beginning of one id of `coupled snapshots --dataset {store.uri}`"
        )
    return matches[0]


def list_snapshot_files(store: ObjectStore) -> dict[str, ObjectInfo]:
    """Return every snapshot file by the id of its snapshot, oldest first."""
    infos = ((parse_snapshot_key(info.key), info) for info in store.list(SNAPSHOT_FOLDER))
    return {name: info for name, info in infos if name is not None}


def iter_history(store: ObjectStore) -> Iterator[Snapshot]:
    """Yield the current snapshot and its ancestors, newest first, as far back as they are kept."""
    snapshot = current_snapshot(store)
    while snapshot is not None:
        yield snapshot
        parent = snapshot.parent
        # A collection of garbage removes old ancestors, and nothing of what follows from them.
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
        parts: Such as `snapshot.parts`; other kinds are passed over.
        columns: Names to read; None: all.
    """
    names = list(columns or MANIFEST_SCHEMA.names)
    for part in parts:
        if part.kind == "manifest":
            for batch in _iter_part(store, part, names, batch_rows):
                yield _in_present_schema(batch, names)


def read_whole_part(
    store: ObjectStore, part: PartInfo, columns: Sequence[str]
) -> list[pa.RecordBatch]:
    """Return the rows of one manifest part as `iter_manifest` yields them, its SHA-256 compared.

    Raises:
        DatasetError: it is missing or damaged.
    """
    where = f"{store.uri}/{part.key}"
    with _named_damage(where):
        # At once and not by ranges: the hash needs all of it anyway.
        data = store.read(part.key)
        if (found := hashlib.sha256(data).hexdigest()) != part.sha256:
            raise pa.ArrowInvalid(
                f"expected {part.size_bytes} bytes with SHA-256 {part.sha256}, got {len(data)} "
                f"with {found}"
            )
        with open_part(pa.BufferReader(data)) as file:
            batches = iter_batches(file, part.num_rows or 1, columns)
            return [_in_present_schema(batch, columns) for batch in batches]


def iter_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[Row]:
    """Yield the rows of batches, such as those of `iter_manifest`, as plain values."""
    for batch in batches:
        yield from batch.to_pylist()


def iter_stored_images(
    store: ObjectStore, rows: Iterable[Row], fields: Sequence[str] | None = None
) -> Iterator[tuple[Row, Row]]:
    """Yield manifest rows, each with its row of an image part, in the order of their places.

    One row group of images is in memory at a time, and those without a wanted pair are not read.
    The images are those that the manifest describes: their SHA-256 is compared.

    Args:
        rows: Rows whose images are stored: pair_id, image_part, image_row and both hashes of each.
        fields: Columns of image parts to read, both images among them; Parquet keeps columns apart,
            so what is left out is not fetched. None: all that a part has.

    Raises:
        DatasetError: a part is missing or damaged, two rows name one place, or a place holds
            another pair or other images than its row says.
    """
    columns = None if fields is None else ["pair_id", *fields]
    placed = sorted(rows, key=itemgetter("image_part", "image_row"))
    # Each part is opened once, and read from its beginning to its end.
    for part, group in groupby(placed, key=itemgetter("image_part")):
        where = f"{store.uri}/{part}"
        wanted = _by_place(group, where)
        with _named_damage(where), store.open_input(part) as source, open_part(source) as file:
            for place, found in _iter_places(file, wanted.keys(), columns):
                _check_images(wanted[place], found, where)
                yield wanted.pop(place), found
            if wanted:
                raise DatasetError(
                    f"the manifest names row {max(wanted)} of {where}, which has "
                    f"{file.metadata.num_rows} rows: run `coupled verify` on the dataset"
                )


def _by_place(rows: Iterable[Row], where: str) -> dict[int, Row]:
    by_place: dict[int, Row] = {}
    for row in rows:
        first = by_place.setdefault(row["image_row"], row)
        if first is not row:
            raise DatasetError(
                f"pairs {first['pair_id']} and {row['pair_id']} of the manifest both name row "
                f"{row['image_row']} of {where}: run `coupled verify` on the dataset"
            )
    return by_place


def _iter_places(
    file: pq.ParquetFile, wanted: Iterable[int], columns: list[str] | None
) -> Iterator[tuple[int, Row]]:
    """Yield the wanted rows of a part with their place in it."""
    end = 0
    for group in range(file.num_row_groups):
        first, end = end, end + file.metadata.row_group(group).num_rows
        inside = {place for place in wanted if first <= place < end}
        for batch in iter_batches(file, _IMAGE_ROWS, columns, [group]) if inside else ():
            for index in range(batch.num_rows):
                if first + index in inside:
                    # Row by row, since plain values are a second copy of the images.
                    yield first + index, batch.slice(index, 1).to_pylist()[0]
            first += batch.num_rows


def _check_images(row: Row, found: Row, where: str) -> None:
    """Refuse images that are not those of a manifest row."""
    if (name := found.get("pair_id")) != row["pair_id"]:
        raise DatasetError(
            f"row {row['image_row']} of {where} holds pair {name}, the manifest "
            f"expects {row['pair_id']}: run `coupled verify` on the dataset"
        )
    for number in (0, 1):
        data: bytes = (found.get(f"image_{number}") or {}).get("bytes") or b""
        digest = hashlib.sha256(data).hexdigest()
        if digest != (expected := row[f"image_{number}_sha256"]):
            raise DatasetError(
                f"image {number} of pair {row['pair_id']} in {where} has SHA-256 {digest}, the "
                f"manifest expects {expected}: restore the part"
            )


def part_pair_ids(store: ObjectStore, part: PartInfo) -> list[str]:
    """Return the ids of a manifest part in the order of its rows."""
    batches = iter_manifest(store, [part], ["pair_id"])
    return [pair_id for batch in batches for pair_id in batch.column(0).to_pylist()]


def _iter_part(
    store: ObjectStore, part: PartInfo, columns: list[str], batch_rows: int
) -> Iterator[pa.RecordBatch]:
    where = f"{store.uri}/{part.key}"
    with _named_damage(where), store.open_input(part.key) as source, open_part(source) as file:
        _check_outside(where, part, source.seek(0, os.SEEK_END), file)
        yield from iter_batches(file, batch_rows, columns)


@contextmanager
def _named_damage(where: str) -> Iterator[None]:
    """Turn what opening and reading a part raises into an error that names the part."""
    try:
        yield
    except NotFoundError as error:
        raise DatasetError(f"part {where} is missing: restore it") from error
    except MemoryError:  # pyarrow's is an ArrowException, too, but no damage
        raise
    except PART_ERRORS as error:
        raise DatasetError(f"part {where} is damaged: {error}") from error


def _check_outside(where: str, part: PartInfo, size_bytes: int, file: pq.ParquetFile) -> None:
    """Refuse a part that is another one, or whose columns cannot be told from damaged ones.

    What is in its pages is guarded by checksums; the names of columns in its footer are not. An old
    part lacks columns, one of a newer version has more than we know: none is both.
    """
    if (size_bytes, file.metadata.num_rows) != (part.size_bytes, part.num_rows):
        raise DatasetError(
            f"part {where} is damaged: expected {part.num_rows} rows in {part.size_bytes} bytes, "
            f"got {file.metadata.num_rows} in {size_bytes}"
        )
    known = {*MANIFEST_SCHEMA.names}
    found = {*present_names(file.schema_arrow).names}
    if (unknown := found - known) and (missing := known - found):
        raise DatasetError(
            f"part {where} is damaged: it has columns {sorted(unknown)} and lacks "
            f"{sorted(missing)}, which no version wrote"
        )


def _in_present_schema(batch: pa.RecordBatch, names: Sequence[str]) -> pa.RecordBatch:
    # Parts of earlier versions lack columns that came later.
    schema = pa.schema([MANIFEST_SCHEMA.field(name) for name in names])
    columns: list[Any] = [
        batch.column(field.name).cast(field.type)
        if field.name in batch.schema.names
        else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.record_batch(columns, schema=schema)
