"""The index of a snapshot that follows another: new rows in a new file, and files kept few.

A file belongs to a level by its number of rows, and each level is 16 times as large as the one
below. A new file takes in all files that are not of a higher level. So a dataset of ten million
rows has six files at most, and each row is written anew some eight times in each level.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from coupled_core.dataset.commit.upload import check_upload
from coupled_core.dataset.parts import PartInfo, temporary_folder
from coupled_core.dataset.row_index import INDEX_SCHEMA, IndexFile, PartRows, RowIndex
from coupled_core.dataset.snapshot import INDEX_FOLDER, IndexInfo
from coupled_core.storage.checksum import sha256_of_file
from coupled_core.storage.store import ObjectStore

_TERMS = [field.name for field in INDEX_SCHEMA if pa.types.is_dictionary(field.type)]
_LEVEL_BITS = 4
_ROW_GROUP = 65_536
"""Some 12 MB: what readers hold of an index at a time."""


def extend_index(
    store: ObjectStore, index: RowIndex, rows: PartRows, parts: Sequence[PartInfo]
) -> tuple[IndexInfo, ...]:
    """Return the index of a snapshot with these parts; what it lacks is uploaded.

    Args:
        index: Of the snapshot that it follows.
        rows: Knows parts that were read already.
        parts: All parts of the new snapshot.

    Raises:
        DatasetError: a part that no file covers is missing or damaged.
        StorageError: the upload failed.
    """
    # Rows of parts that the new snapshot lacks (a rewrite made others) no longer count.
    manifest = {part.sha256: part for part in parts if part.kind == "manifest"}
    files = [file.only(manifest.keys()) for file in index.files]
    covered = {sha256 for file in files for sha256 in file.parts}
    new = rows.read(part for sha256, part in manifest.items() if sha256 not in covered)
    staying, merged = _choose_merged(files, new.num_rows)
    if new.num_rows or merged:
        # Stands in the name of the file, for people.
        num_parts = len(manifest) - sum(len(file.parts) for file in staying)
        with temporary_folder() as folder:
            path = folder / "index.parquet"
            write_index(path, _iter_tables(merged, new))
            return (*(file.info for file in staying), _upload(store, path, num_parts))
    return tuple(file.info for file in staying)


def _choose_merged(
    files: Iterable[IndexFile], num_rows: int
) -> tuple[list[IndexFile], list[IndexFile]]:
    """Return the files that stay, largest first, and those that a file of new rows takes in."""
    alive = [file for file in files if file.num_alive]
    # Rows that no longer count are left out when half of a file is made of them.
    merged = [file for file in alive if 2 * file.num_alive < file.num_rows]
    num_rows += sum(file.num_alive for file in merged)
    staying = [file for file in alive if file not in merged]
    staying.sort(key=lambda file: file.num_alive, reverse=True)
    # Smallest first, as with the carry of an addition: the sum may reach the next level and take in
    # a file of that one, too.
    while num_rows and staying and _level(staying[-1].num_alive) <= _level(num_rows):
        num_rows += staying[-1].num_alive
        merged.append(staying.pop())
    return staying, merged


def _level(num_rows: int) -> int:
    # log16 of the number, rounded down.
    return (num_rows.bit_length() - 1) // _LEVEL_BITS


def _iter_tables(merged: Iterable[IndexFile], new: pa.Table) -> Iterator[pa.Table]:
    for file in merged:
        yield from file.iter_tables()
    yield new


def write_index(path: Path, tables: Iterable[pa.Table]) -> None:
    """Write tables of `INDEX_SCHEMA` in row groups of one size."""
    with pq.ParquetWriter(
        path, INDEX_SCHEMA, compression="none", use_dictionary=_TERMS, write_statistics=False
    ) as writer:
        waiting: list[pa.Table] = []
        for table in tables:
            waiting.append(table)
            # Full row groups whatever the sizes of the tables: many small groups would make readers
            # slow.
            while (joined := pa.concat_tables(waiting)).num_rows >= _ROW_GROUP:
                # Parquet writes one dictionary a row group, and tables from different files number
                # their terms in different ways.
                writer.write_table(joined.slice(0, _ROW_GROUP).unify_dictionaries())
                waiting = [joined.slice(_ROW_GROUP)]
        if joined.num_rows:
            writer.write_table(joined.unify_dictionaries(), row_group_size=_ROW_GROUP)


def _upload(store: ObjectStore, path: Path, num_parts: int) -> IndexInfo:
    digest = sha256_of_file(path)
    info = IndexInfo(
        key=f"{INDEX_FOLDER}part-{num_parts:05d}-{digest[:8]}.parquet",
        num_rows=pq.read_metadata(path).num_rows,
        size_bytes=path.stat().st_size,
        sha256=digest,
    )
    # Always written: one of this name that is there may be about to be collected.
    check_upload(store, store.upload_file(info.key, path), info)
    return info
