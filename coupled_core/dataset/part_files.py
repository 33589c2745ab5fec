"""Parts as Parquet files: written on local disk in bounded memory, opened wherever they lie."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from coupled_core.dataset.columns import IMAGE_FIELDS, IMAGES_SCHEMA, MANIFEST_SCHEMA

PartKind = Literal["manifest", "images", "dropped"]
"""Rows; images of kept pairs; images of dropped pairs, where the settings store them."""

_MANIFEST_ROW_GROUP = 20_000
_IMAGE_ROW_GROUP_BYTES = 32 << 20
"""Image bytes at which a row group is closed. Readers hold one at a time."""
_IMAGE_PART_BYTES = 384 << 20
"""Image bytes at which the next part begins."""

PART_ERRORS = (pa.ArrowException, OSError, UnicodeDecodeError)
"""What pyarrow raises for damage: OSError for bad pages, the last for names that are no text."""


def open_part(source: Any) -> pq.ParquetFile:
    """Open a part so that a page which is not what was written is an error, not other rows.

    Compressed text with a flipped bit often still decompresses, to other text.
    """
    return pq.ParquetFile(source, page_checksum_verification=True)


def iter_rows(
    file: pq.ParquetFile, batch_rows: int, columns: list[str] | None
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a part, holding one row group: over all, pyarrow reads ahead to the end.

    Rows are counted: the header of a page has no checksum, and a damaged one can end the rows of
    its group early without an error of pyarrow's.

    Raises:
        pa.ArrowInvalid: there are not as many rows as the file says.
    """
    said = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    _compare_rows(file.metadata.num_rows, sum(said))
    for group, num_said in enumerate(said):
        num_read = 0
        for batch in file.iter_batches(batch_rows, [group], columns, use_threads=False):
            num_read += batch.num_rows
            yield batch
        _compare_rows(num_said, num_read)


def _compare_rows(num_said: int, num_read: int) -> None:
    if num_read != num_said:
        raise pa.ArrowInvalid(f"expected {num_said} rows, got {num_read}")


@dataclass(frozen=True)
class PartFile:
    """A finished part on local disk."""

    path: Path
    kind: PartKind
    num_rows: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class ImagePlace:
    """Where the images of a pair stand."""

    file_index: int
    """Into the list of part files."""
    row: int


def write_manifest_file(rows: Iterable[Mapping[str, Any]], path: Path) -> PartFile:
    """Write manifest rows; equal rows give equal bytes."""
    table = pa.Table.from_pylist(list(rows), schema=MANIFEST_SCHEMA)
    return write_manifest_table(table, path)


def write_manifest_table(table: pa.Table, path: Path) -> PartFile:
    """Write a table that has the manifest's schema."""
    pq.write_table(
        table,
        path,
        compression="zstd",
        row_group_size=_MANIFEST_ROW_GROUP,
        write_page_checksum=True,
    )
    return _describe(path, "manifest", table.num_rows)


def write_image_files(
    rows: Iterable[Mapping[str, Any]],
    folder: Path,
    *,
    kind: PartKind = "images",
    row_group_bytes: int = _IMAGE_ROW_GROUP_BYTES,
    part_bytes: int = _IMAGE_PART_BYTES,
) -> tuple[list[PartFile], dict[str, ImagePlace]]:
    """Write rows of images to as many parts as they need; hold one row group in memory.

    Args:
        rows: As `rows.image_row` makes them.
        folder: Where the files go.
        kind: Of the parts.
        row_group_bytes: Image bytes of a row group.
        part_bytes: Image bytes of a file.

    Returns:
        The files, and the place of each pair by its pair_id.
    """
    files: list[PartFile] = []
    places: dict[str, ImagePlace] = {}
    groups = _row_groups(rows, row_group_bytes)
    pending = next(groups, None)
    while pending is not None:
        path = folder / f"{kind}-{len(files):05d}.parquet"
        written_bytes, num_rows = 0, 0
        with _image_writer(path) as writer:
            while pending is not None and written_bytes < part_bytes:
                for row in pending:
                    places[row["pair_id"]] = ImagePlace(len(files), num_rows)
                    written_bytes += _image_bytes(row)
                    num_rows += 1
                table = pa.Table.from_pylist(pending, schema=IMAGES_SCHEMA)
                writer.write_table(table, row_group_size=len(pending))
                pending = next(groups, None)
        files.append(_describe(path, kind, num_rows))
    return files, places


def _image_writer(path: Path) -> pq.ParquetWriter:
    # Images are compressed already; dictionaries and statistics of them would only cost space.
    return pq.ParquetWriter(
        path,
        IMAGES_SCHEMA,
        compression="none",
        use_dictionary=False,
        write_statistics=["pair_id"],
        write_page_checksum=True,
    )


def _row_groups(rows: Iterable[Mapping[str, Any]], max_bytes: int) -> Iterator[list[Any]]:
    group: list[Any] = []
    group_bytes = 0
    for row in rows:
        if group and group_bytes + _image_bytes(row) > max_bytes:
            yield group
            group, group_bytes = [], 0
        group.append(row)
        group_bytes += _image_bytes(row)
    if group:
        yield group


def _image_bytes(row: Mapping[str, Any]) -> int:
    return sum(len(row[name]["bytes"]) for name in IMAGE_FIELDS)


def _describe(path: Path, kind: PartKind, num_rows: int) -> PartFile:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return PartFile(path, kind, num_rows, path.stat().st_size, digest)
