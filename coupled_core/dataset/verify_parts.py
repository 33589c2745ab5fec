"""The part of `verify` that takes parts as bytes: are they there, whole, and Parquet."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from coupled_core.dataset.damage import Check, DamageLog
from coupled_core.dataset.part_files import PART_ERRORS, iter_rows
from coupled_core.dataset.parts import PartInfo
from coupled_core.dataset.schema import IMAGES_SCHEMA, MANIFEST_SCHEMA
from coupled_core.errors import NotFoundError
from coupled_core.storage.store import ObjectStore


@contextmanager
def hashed_part(store: ObjectStore, part: PartInfo, log: DamageLog) -> Iterator[Path | None]:
    """Yield a part as a local file after its size and hash were compared; None: it is missing.

    A damaged part is yielded, too: its rows tell more exactly what is wrong.
    """
    with ExitStack() as stack:
        path: Path | None = None
        try:
            path = stack.enter_context(store.local_copy(part.key))
        except NotFoundError:
            expected = f"{part.size_bytes} bytes"
            log.add(Check.PART_MISSING, part.key, expected=expected, got="no object")
        else:
            _compare_bytes(path, part, log)
        yield path


def read_batches(
    path: Path, part: PartInfo, log: DamageLog, *, columns: list[str] | None, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a part as far as they can be read, and compare their number."""
    num_rows = 0
    try:
        with pq.ParquetFile(path) as file:
            if damage := _schema_damage(file.schema_arrow, part):
                log.add(Check.PART_FORMAT, part.key, expected=damage[0], got=damage[1])
                return
            present = columns and [name for name in columns if name in file.schema_arrow.names]
            for batch in iter_rows(file, batch_rows, present):
                batch.validate(full=True)  # damaged text may be none
                yield batch
                num_rows += batch.num_rows
    except PART_ERRORS as error:
        log.add(Check.PART_FORMAT, part.key, num_rows, expected="a readable row", got=error)
        return
    if num_rows != part.num_rows:
        log.add(Check.PART_ROWS, part.key, expected=f"{part.num_rows} rows", got=num_rows)


def _schema_damage(found: pa.Schema, part: PartInfo) -> tuple[str, str] | None:
    """Return the first column that is expected and what is there instead, if any differs.

    Manifest parts of an earlier minor version may lack columns that may be null.
    """
    is_manifest = part.kind == "manifest"
    for field in MANIFEST_SCHEMA if is_manifest else IMAGES_SCHEMA:
        if field.name not in found.names:
            if not (is_manifest and field.nullable):
                return f"a column {field.name}", f"columns {found.names}"
        elif not (got := found.field(field.name)).equals(field):
            return _describe(field), _describe(got)
    return None


def _describe(field: pa.Field) -> str:
    return f"column {field.name} of {field.type}" + ("" if field.nullable else ", never null")


def _compare_bytes(path: Path, part: PartInfo, log: DamageLog) -> None:
    size_bytes = path.stat().st_size
    if size_bytes != part.size_bytes:
        log.add(Check.PART_SIZE, part.key, expected=f"{part.size_bytes} bytes", got=size_bytes)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != part.sha256:
        log.add(Check.PART_HASH, part.key, expected=f"SHA-256 {part.sha256}", got=found)
