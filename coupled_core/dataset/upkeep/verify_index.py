"""An index against the parts that it was read from: commits take its word about what is there."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa

from coupled_core.dataset.parts import PART_ERRORS
from coupled_core.dataset.row_index import IndexFile, read_index_file, read_index_rows
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.dataset.upkeep.damage import DamageLog, Flaw
from coupled_core.errors import DatasetError, NotFoundError
from coupled_core.storage.store import ObjectStore


def verify_index(store: ObjectStore, snapshot: Snapshot, log: DamageLog) -> None:
    """Hash each index file and compare its rows with their parts; a part may be in no file."""
    parts = {part.sha256: part for part in snapshot.parts_of("manifest")}
    num_rows = {sha256: part.num_rows for sha256, part in parts.items()}
    for info in snapshot.index:
        try:
            with store.local_copy(info.key) as path:
                file = read_index_file(path, info, num_rows)
                for sha256, table in _iter_parts(file):
                    try:
                        same = _plain(read_index_rows(store, parts[sha256])).equals(_plain(table))
                    except (DatasetError, ValueError):  # written down when the part was read
                        continue
                    if not same:
                        finding = (
                            Flaw.INDEX,
                            f"the rows of {parts[sha256].key}",
                            "other rows",
                        )
                        log.add(finding, info.key)
        except NotFoundError:
            log.add((Flaw.INDEX, f"{info.size_bytes} bytes", "no object"), info.key)
        except PART_ERRORS as error:
            log.add((Flaw.INDEX, "what was written", error), info.key)


def _iter_parts(file: IndexFile) -> Iterator[tuple[str, pa.Table]]:
    """Yield the SHA-256 of each part that counts, with its rows."""
    waiting = pa.table([])
    for table in filter(len, file.iter_tables()):
        waiting = pa.concat_tables([waiting, table]) if waiting.num_rows else table
        # Rows of one part stand together, but a row group may end in the middle of them.
        *whole, last = _split(waiting)
        yield from whole
        waiting = last[1]  # it may go on in the next row group
    if waiting.num_rows:
        yield from _split(waiting)


def _split(table: pa.Table) -> list[tuple[str, pa.Table]]:
    """Cut a table where another part begins."""
    names = table["part"].cast(pa.string()).to_numpy()
    starts = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1).tolist(), len(names)]
    return [(names[start], table.slice(start, end - start)) for start, end in pairwise(starts)]


def _plain(table: pa.Table) -> pa.Table:
    """Return a table without dictionaries, which may number the same texts in other ways."""
    fields = [
        field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields)).combine_chunks()
