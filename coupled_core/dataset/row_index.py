"""What commits need of all rows that are there, in a few files instead of one a shard.

An index file is a Parquet file with some columns of manifest rows, each row with the SHA-256 of the
part that it was read from. So it says nothing about any other part, whichever snapshot names it:
rows of parts that a snapshot lacks are passed over, and parts that no file covers are read
themselves. That is also how an index is rebuilt that is missing, damaged, or was never written.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from coupled_core.dataset.backgrounds import PARTITION_RULE, canonical_background
from coupled_core.dataset.duplicates import LOOKS_COLUMNS, PairLooks
from coupled_core.dataset.parts import PART_ERRORS, PartInfo
from coupled_core.dataset.reader import read_whole_part
from coupled_core.dataset.snapshot import IndexInfo, Snapshot
from coupled_core.errors import NotFoundError
from coupled_core.id_set import IdSet
from coupled_core.storage.checksum import sha256_of_file
from coupled_core.storage.store import ObjectStore

# Texts that repeat in most rows: each is stored once, and rows hold its number.
_TERM = pa.dictionary(pa.int32(), pa.string())
INDEX_SCHEMA = pa.schema(
    [
        # SHA-256 of the manifest part.
        pa.field("part", _TERM, nullable=False),
        pa.field("pair_id", pa.binary(16), nullable=False),
        # Looks of kept pairs, image 0 before image 1. Null: dropped, or of an early version.
        pa.field("combined", pa.float64()),
        pa.field("phashes", pa.binary(16)),
        pa.field("codes", pa.binary(128)),
        # Of kept pairs. The content words are those of the rule that is named below.
        pa.field("background_prompt", _TERM),
        pa.field("background_words", _TERM),
        pa.field("partition", _TERM),
    ],
    metadata={"partition_rule": PARTITION_RULE},
)
"""Files of another schema, or of another rule, are of no use."""
_LOOKS = ("pair_id", "combined", "phashes", "codes")
_BACKGROUNDS = ("background_prompt", "background_words", "partition")
_MANIFEST_COLUMNS = (*LOOKS_COLUMNS, "background_prompt", "partition")
_THREADS = 8
"""That read parts which no index file covers: most of the time is the store's."""
_LOGGER = logging.getLogger(__name__)


class PartRows:
    """Reads manifest parts into rows of an index, each part once in the life of this object."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._tables: dict[str, pa.Table] = {}

    def read(self, parts: Iterable[PartInfo]) -> pa.Table:
        """Return the rows of the manifest parts, in their order; other kinds are passed over.

        Raises:
            DatasetError: a part is missing or damaged.
        """
        manifest = [part for part in parts if part.kind == "manifest"]
        todo = [part for part in manifest if part.sha256 not in self._tables]
        with ThreadPoolExecutor(_THREADS) as pool:
            read = pool.map(lambda part: read_index_rows(self._store, part), todo)
            self._tables |= {part.sha256: table for part, table in zip(todo, read, strict=True)}
        tables = [self._tables[part.sha256] for part in manifest]
        # An empty table in front, because concatenating none is an error.
        return pa.concat_tables([INDEX_SCHEMA.empty_table(), *tables])


def read_index_rows(store: ObjectStore, part: PartInfo) -> pa.Table:
    """Return what an index holds of a manifest part.

    Raises:
        DatasetError: it is missing or damaged.
    """
    batches = [
        _index_batch(part, batch.to_pylist())
        for batch in read_whole_part(store, part, _MANIFEST_COLUMNS)
    ]
    return pa.Table.from_batches(batches, INDEX_SCHEMA)


def _index_batch(part: PartInfo, rows: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    looks = [_looks_of(row) for row in rows]
    places = [_background_of(row) for row in rows]
    columns: list[Sequence[Any]] = [
        [part.sha256] * len(rows),
        [bytes.fromhex(row["pair_id"]) for row in rows],
        [row["combined"] if look else None for row, look in zip(rows, looks, strict=True)],
        [look and look[0] for look in looks],
        [look and look[1] for look in looks],
        [place and place[0] for place in places],
        [place and canonical_background(place[0]) for place in places],
        [place and place[1] for place in places],
    ]
    arrays = (pa.array(c, field.type) for c, field in zip(columns, INDEX_SCHEMA, strict=True))
    return pa.record_batch(list(arrays), INDEX_SCHEMA)


def _looks_of(row: dict[str, Any]) -> tuple[bytes, bytes] | None:
    texts = [row[name] for name in LOOKS_COLUMNS[3:]]
    if not row["kept"] or None in texts:
        return None
    return bytes.fromhex(texts[0] + texts[1]), bytes.fromhex(texts[2] + texts[3])


def _background_of(row: dict[str, Any]) -> tuple[str, str] | None:
    found = row["background_prompt"], row["partition"]
    return found if row["kept"] and None not in found else None


@dataclass(frozen=True)
class IndexFile:
    """An index file at hand, and which of its rows count."""

    info: IndexInfo
    path: Path
    num_rows: int
    parts: Mapping[str, int]
    """The manifest parts whose rows count, by SHA-256, and how many those are; rows of others are
    passed over."""

    @property
    def num_alive(self) -> int:
        """How many rows count."""
        return sum(self.parts.values())

    def only(self, parts: Collection[str]) -> "IndexFile":
        """Return the file with only the rows of some parts counting."""
        return replace(self, parts={name: n for name, n in self.parts.items() if name in parts})

    def iter_tables(self, columns: Sequence[str] = INDEX_SCHEMA.names) -> Iterator[pa.Table]:
        """Yield the rows that count, a row group at a time."""
        names = list(dict.fromkeys(("part", *columns)))
        with pq.ParquetFile(self.path) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, names)
                # Most files count in full, and are not filtered.
                if self.num_alive < self.num_rows:
                    alive = pa.array(self.parts, pa.string())
                    table = table.filter(pc.is_in(table["part"].cast(pa.string()), alive))
                yield table


class RowIndex:
    """The rows of a snapshot's manifest parts, as far as commits need them."""

    def __init__(
        self, parts: Sequence[PartInfo], files: Sequence[IndexFile], rows: PartRows
    ) -> None:
        """Take the manifest parts, the index files, and who reads parts that none of them covers.

        No two files may count rows of the same part.
        """
        self.files = tuple(files)
        self._rows = rows
        covered = {sha256 for file in files for sha256 in file.parts}
        self._others = [part for part in parts if part.sha256 not in covered]

    def pair_ids(self) -> IdSet:
        """Return every pair_id, whatever became of the pair."""
        return IdSet(packed=[pair_ids_of(table) for table in self._iter_tables(["pair_id"])])

    def iter_looks(self) -> Iterator[PairLooks]:
        """Yield what kept pairs look like, some ten thousand at a time."""
        return map(looks_of, self._iter_tables(_LOOKS))

    def count_backgrounds(
        self,
        parts: Collection[str] | None = None,
        select: Callable[[frozenset[str]], bool] = lambda _words: True,
    ) -> Counter[tuple[str, str]]:
        """Return the number of kept pairs of each background in each partition.

        Args:
            parts: SHA-256 of the manifest parts that count; None: all.
            select: Says of the content words of a background whether it counts.
        """
        found = Counter[tuple[str, str]]()
        for table in self._iter_tables(_BACKGROUNDS):
            if parts is not None:
                names = pa.array(parts, pa.string())
                table = table.filter(pc.is_in(table["part"].cast(pa.string()), names))
            for text, canonical, partition, count in _count_backgrounds(table):
                if select(frozenset(canonical.split())):
                    found[text, partition] += count
        return found

    def _iter_tables(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        for file in self.files:
            yield from file.iter_tables(columns)
        if self._others:
            yield self._rows.read(self._others)


@contextmanager
def open_index(
    store: ObjectStore, snapshot: Snapshot | None, rows: PartRows | None = None
) -> Iterator[RowIndex]:
    """Yield the index of a snapshot; remote files are copied to the temporary folder meanwhile.

    Args:
        snapshot: None: there are no rows.
        rows: Knows parts that were read already.
    """
    parts = snapshot.parts_of("manifest") if snapshot else ()
    with ExitStack() as stack:
        files: list[IndexFile] = []
        left = {part.sha256: part.num_rows for part in parts}
        for info in snapshot.index if snapshot else ():
            try:
                file = read_index_file(stack.enter_context(store.local_copy(info.key)), info, left)
            except MemoryError:  # pyarrow's is an ArrowException, too, but no damage
                raise
            except (NotFoundError, *PART_ERRORS) as error:
                where = f"{store.uri}/{info.key}"
                _LOGGER.warning("%s is of no use: %s; its rows are read from parts", where, error)
                continue
            files.append(file)
            # What this file covers counts in no further one, or its rows would count twice.
            left = {sha256: number for sha256, number in left.items() if sha256 not in file.parts}
        yield RowIndex(parts, files, rows or PartRows(store))


def read_index_file(path: Path, info: IndexInfo, wanted: Mapping[str, int]) -> IndexFile:
    """Open a copy of an index file.

    Args:
        wanted: Number of rows of each part whose rows shall count, by its SHA-256.

    Raises:
        pa.ArrowInvalid: its content is another one.
    """
    if (found := sha256_of_file(path)) != info.sha256:
        raise pa.ArrowInvalid(f"expected SHA-256 {info.sha256}, got {found}")
    with pq.ParquetFile(path) as file:
        if not file.schema_arrow.equals(INDEX_SCHEMA, check_metadata=True):
            raise pa.ArrowInvalid("its columns are of another version")
        counts = pc.value_counts(file.read(["part"])["part"].unify_dictionaries()).to_pylist()
    # A part counts only as a whole.
    alive = {
        each["values"]: each["counts"]
        for each in counts
        if wanted.get(each["values"]) == each["counts"]
    }
    num_rows = sum(each["counts"] for each in counts)
    return IndexFile(info, path, num_rows, alive)


def committed_pair_ids(store: ObjectStore, snapshot: Snapshot | None) -> IdSet:
    """Return every pair_id of a snapshot, whatever became of the pair."""
    with open_index(store, snapshot) as index:
        return index.pair_ids()


def pair_ids_of(table: pa.Table) -> NDArray[np.bytes_]:
    """Return the ids of rows of an index, 16 bytes each."""
    return _to_numpy(table["pair_id"], "S16")


def looks_of(table: pa.Table) -> PairLooks:
    """Return the looks of those rows of an index that have some."""
    chosen = table.filter(pc.is_valid(table["codes"]))
    # 16 raw bytes to 32 hex digits for all ids at once.
    digits = _to_numpy(chosen["pair_id"], "V16").tobytes().hex().encode()
    return PairLooks(
        np.frombuffer(digits, "S32"),
        chosen["combined"].to_numpy().astype(np.float64, copy=False),
        _to_numpy(chosen["phashes"], ">u8").astype(np.uint64).reshape(-1, 2),
        _to_numpy(chosen["codes"], "i1").reshape(-1, 2, 64),
    )


def _count_backgrounds(table: pa.Table) -> Iterator[tuple[str, str, str, int]]:
    """Yield each background, its content words, a partition and how many rows have both."""
    # Text, since dictionaries differ from one chunk to the next.
    texts = pa.table([table[name].cast(pa.string()) for name in _BACKGROUNDS], _BACKGROUNDS)
    counts = texts.drop_null().group_by(_BACKGROUNDS).aggregate([([], "count_all")])
    yield from zip(*(column.to_pylist() for column in counts.columns), strict=True)


def _to_numpy(column: pa.ChunkedArray, kind: str) -> NDArray[Any]:
    """Return a column of bytes of one length, without nulls, as numbers."""
    arrays = []
    for chunk in column.chunks:
        width = chunk.type.byte_width
        # The first buffer says which values are null; the second holds the bytes, one after the
        # other.
        data = chunk.buffers()[1]
        # A slice shares the whole buffer.
        start = chunk.offset * width
        arrays.append(np.frombuffer(data, np.uint8)[start : start + len(chunk) * width])
    joined = arrays[0] if len(arrays) == 1 else np.concatenate([np.empty(0, np.uint8), *arrays])
    return np.ascontiguousarray(joined).view(kind)
