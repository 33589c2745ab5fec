"""Parts: immutable Parquet files of rows or of images, written and read in bounded memory."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from coupled_core.dataset.columns import (
    BACKGROUND_FIELDS,
    IMAGE_FIELDS,
    IMAGES_AND_BACKGROUND_SCHEMA,
    IMAGES_SCHEMA,
    MANIFEST_SCHEMA,
    present_names,
)
from coupled_core.errors import StorageError
from coupled_core.storage.checksum import sha256_of_file
from coupled_core.storage.scratch import scratch_folder

PartKind = Literal["manifest", "images", "dropped"]
"""Rows; images of kept pairs; images of dropped pairs, where the settings store them."""
Place = tuple[str, int]
"""Key of a part and row in it, from 0."""

_MANIFEST_ROW_GROUP = 20_000
_SORTED_BY = pq.SortingColumn.from_ordering(
    MANIFEST_SCHEMA, [("source_file", "ascending"), ("source_row", "ascending")]
)
"""Told to readers, which may then skip or merge without sorting."""
_IMAGE_ROW_GROUP_BYTES = 32 << 20
"""Image bytes at which a row group is closed. Readers hold one at a time."""
_IMAGE_PART_BYTES = 384 << 20
"""Image bytes at which the next part begins."""

PART_ERRORS = (pa.ArrowException, OSError, UnicodeDecodeError)
"""What pyarrow raises for damage: OSError for bad pages, the last for names that are no text."""


class _Part(BaseModel):
    """What is known of a part wherever it lies."""

    model_config = ConfigDict(frozen=True)

    key: str
    """`<kind>/part-<shard>-<8 digits of sha256>.parquet`: the first, unless that is an old name."""
    kind: PartKind
    num_rows: int
    size_bytes: int
    sha256: str
    shard_index: int


class PartFile(_Part):
    """A finished part on local disk, on its way to where its key says."""

    path: Path

    def possible_keys(self) -> list[str]:
        """Return the names that this content can have, the usual one first."""
        digits = [self.sha256[start : start + 8] for start in range(0, len(self.sha256), 8)]
        return [_name_part(self.kind, self.shard_index, each) for each in digits]


class PartInfo(_Part):
    """One part of a dataset, as a snapshot names it."""

    etag: str
    """The store's tag when `sha256` was last compared; while it stays, so does the content."""
    run_id: str


def _name_part(kind: PartKind, shard_index: int, digits: str) -> str:
    # At least five digits: shards from 100,000 on have more.
    return f"{kind}/part-{shard_index:05d}-{digits}.parquet"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a folder for parts on their way to the store.

    Raises:
        StorageError: it could not be made or written; the text says where it is.
    """
    try:
        with scratch_folder("parts") as folder:
            yield folder
    except OSError as error:
        raise StorageError(
            f"cannot write parts below {tempfile.gettempdir()}: {error.strerror or error}; free "
            "space there, or name another folder in TMPDIR"
        ) from error


def write_manifest_file(
    rows: Iterable[Mapping[str, Any]], folder: Path, shard_index: int
) -> PartFile:
    """Write manifest rows; equal rows give equal bytes."""
    table = pa.Table.from_pylist(list(rows), schema=MANIFEST_SCHEMA)
    return write_manifest_table(table, folder, shard_index)


def write_manifest_table(table: pa.Table, folder: Path, shard_index: int) -> PartFile:
    """Write manifest rows that are a table of `MANIFEST_SCHEMA`: the same bytes, in less memory."""
    path = folder / "manifest.parquet"
    # In one piece, since pages end where pieces do.
    table = table.combine_chunks()
    pq.write_table(
        table,
        path,
        compression="zstd",
        row_group_size=_MANIFEST_ROW_GROUP,
        sorting_columns=_SORTED_BY if _is_in_order(table) else None,
        write_page_checksum=True,
    )
    return _describe(path, "manifest", shard_index, table.num_rows)


def _is_in_order(table: pa.Table) -> bool:
    """Say whether rows are in the order of the prompt set; refused groups come after the others."""
    file, row = (table[name].combine_chunks() for name in ("source_file", "source_row"))
    before, after = slice(None, -1), slice(1, None)
    is_same_file = pc.equal(file[before], file[after])
    is_later_row = pc.and_(is_same_file, pc.less_equal(row[before], row[after]))
    in_order = pc.or_(pc.less(file[before], file[after]), is_later_row)
    return bool(pc.all(in_order, min_count=0).as_py())


class ImageFiles:
    """Part files of images under way, as many as the rows need; one row group is in memory."""

    def __init__(
        self,
        folder: Path,
        shard_index: int,
        *,
        kind: PartKind = "images",
        row_group_bytes: int = _IMAGE_ROW_GROUP_BYTES,
        part_bytes: int = _IMAGE_PART_BYTES,
        settle: Callable[[PartFile], PartFile] = lambda file: file,
    ) -> None:
        """Begin.

        Args:
            folder: Where the files go.
            kind: Images of kept or of dropped pairs.
            row_group_bytes: Most image bytes of a row group, if it has two rows or more.
            part_bytes: Image bytes at which a file is closed.
            settle: Decides under which of its names a file will go into the store.
        """
        self.places: dict[str, Place] = {}
        """Where each pair's images stand, by its pair_id; complete once `finish` has returned."""
        self._folder, self._shard_index, self._kind = folder, shard_index, kind
        self._row_group_bytes, self._part_bytes = row_group_bytes, part_bytes
        self._settle = settle
        self._files: list[PartFile] = []
        self._writer: pq.ParquetWriter | None = None
        self._group: list[Mapping[str, Any]] = []
        self._group_bytes = self._file_bytes = 0
        self._pair_ids: list[str] = []

    def add(self, row: Mapping[str, Any]) -> None:
        """Take a row that `rows.image_row` made; all have the same columns."""
        names = (*IMAGE_FIELDS, *(BACKGROUND_FIELDS if _has_background(row) else ()))
        num_bytes = sum(len(row[name]["bytes"]) for name in names)
        # A single row may be larger than a group should be; it still has to go somewhere.
        if self._group and self._group_bytes + num_bytes > self._row_group_bytes:
            self._write_group()
        self._group.append(row)
        self._group_bytes += num_bytes

    def finish(self) -> list[PartFile]:
        """Write what is left and return the files."""
        if self._group:
            self._write_group()
        self._close_file()
        return self._files

    def _write_group(self) -> None:
        has_background = _has_background(self._group[0])
        schema = IMAGES_AND_BACKGROUND_SCHEMA if has_background else IMAGES_SCHEMA
        if self._writer is None:
            self._writer = _image_writer(self._path, schema)
        self._pair_ids += [row["pair_id"] for row in self._group]
        table = pa.Table.from_pylist(self._group, schema=schema)
        self._writer.write_table(table, row_group_size=len(self._group))
        self._file_bytes += self._group_bytes
        self._group, self._group_bytes = [], 0
        # A part ends with a row group, so it may exceed its bound by one of them.
        if self._file_bytes >= self._part_bytes:
            self._close_file()

    def _close_file(self) -> None:
        if self._writer is None:
            return
        self._writer.close()
        num_rows = len(self._pair_ids)
        # The name is settled before any row states it: rows of the manifest name parts by key.
        file = self._settle(_describe(self._path, self._kind, self._shard_index, num_rows))
        self.places |= {name: (file.key, row) for row, name in enumerate(self._pair_ids)}
        self._files.append(file)
        self._writer, self._file_bytes, self._pair_ids = None, 0, []

    @property
    def _path(self) -> Path:
        return self._folder / f"{self._kind}-{len(self._files):05d}.parquet"


def _has_background(row: Mapping[str, Any]) -> bool:
    return row.get(BACKGROUND_FIELDS[0]) is not None


def _image_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    # Images are compressed already; dictionaries and statistics of them would only cost space.
    return pq.ParquetWriter(
        path,
        schema,
        compression="none",
        use_dictionary=False,
        write_statistics=["pair_id"],
        write_page_checksum=True,
    )


def _describe(path: Path, kind: PartKind, shard_index: int, num_rows: int) -> PartFile:
    digest = sha256_of_file(path)
    return PartFile(
        path=path,
        key=_name_part(kind, shard_index, digest[:8]),
        kind=kind,
        num_rows=num_rows,
        size_bytes=path.stat().st_size,
        sha256=digest,
        shard_index=shard_index,
    )


def open_part(source: Any) -> pq.ParquetFile:
    """Open a part so that a page which is not what was written is an error, not other rows.

    Compressed text with a flipped bit often still decompresses, to other text.
    """
    return pq.ParquetFile(source, page_checksum_verification=True)


def iter_batches(
    file: pq.ParquetFile,
    batch_rows: int,
    columns: Iterable[str] | None = None,
    row_groups: Iterable[int] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Yield rows of a part, holding one row group: over several, pyarrow reads ahead to the end.

    Rows are counted, because the header of a page has no checksum and a damaged one can end the
    rows of its group early without an error of pyarrow's.

    Args:
        columns: Present names of columns; those that the part lacks are left out. None: all.
        row_groups: Which of them to read; None: all.

    Raises:
        pa.ArrowInvalid: there are not as many rows as the file says.
    """
    # The file may call columns what an earlier version called them.
    names = present_names(file.schema_arrow).names
    stored = dict(zip(names, file.schema_arrow.names, strict=True))
    wanted = None if columns is None else [stored[name] for name in columns if name in stored]
    num_said = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    # The footer says it twice; damage to it seldom changes both alike.
    _compare_rows(file.metadata.num_rows, sum(num_said))
    for group in range(file.num_row_groups) if row_groups is None else row_groups:
        num_read = 0
        for batch in file.iter_batches(batch_rows, [group], wanted, use_threads=False):
            num_read += batch.num_rows
            yield batch.rename_columns(present_names(batch.schema).names)
        _compare_rows(num_said[group], num_read)


def _compare_rows(num_said: int, num_read: int) -> None:
    if num_read != num_said:
        raise pa.ArrowInvalid(f"expected {num_said} rows, got {num_read}")
