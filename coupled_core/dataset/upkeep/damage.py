"""What is wrong with a dataset, so exact that it can be found; parts read as far as they go."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from coupled_core.dataset.columns import IMAGES_SCHEMA, MANIFEST_SCHEMA, present_names
from coupled_core.dataset.parts import PART_ERRORS, PartInfo, iter_batches
from coupled_core.errors import NotFoundError
from coupled_core.storage.checksum import sha256_of_file
from coupled_core.storage.store import ObjectStore


class Flaw(StrEnum):
    """What can be wrong: each is looked at by `verify`."""

    SNAPSHOT = "snapshot"
    PART_MISSING = "part missing"
    PART_SIZE = "part size"
    PART_HASH = "part hash"
    PART_FORMAT = "part format"
    PART_ROWS = "part rows"
    PAIR_ID = "pair_id unique"
    DECISION = "decision"
    THRESHOLDS = "kept implies thresholds"
    PLACE = "image place"
    IMAGE_ROW = "image row"
    IMAGE_BYTES = "image bytes"
    IMAGE_HASH = "image hash"
    IMAGE_FORMAT = "image format"
    IMAGE_SIZE = "image size"
    MASK = "mask"
    BACKGROUND_PARTITION = "background in one partition"
    GROUP_PARTITION = "group in one partition"
    DUPLICATE_OF = "duplicate of a pair"
    FUNNEL = "funnel"
    INDEX = "index"
    """Nothing is lost: the next commit reads the parts instead, and writes another."""


@dataclass(frozen=True)
class Damage:
    """One thing that is not as it should be."""

    check: Flaw
    expected: str
    got: str
    part: str | None
    """Key of the object; None: the snapshot as a whole."""
    row: int | None = None
    """Row in it, from 0; None: the object as a whole."""
    pair_id: str | None = None

    def __str__(self) -> str:
        where = self.part or "the snapshot"
        where += "" if self.row is None else f" row {self.row}"
        where += "" if self.pair_id is None else f" (pair {self.pair_id})"
        return f"{self.check}: {where}: expected {self.expected}, got {self.got}"


Finding = tuple[Flaw, str, Any]
"""What was looked at in a row, what was expected, and what was found."""


@dataclass
class DamageLog:
    """Counts all damage and remembers the first of it, so that a ruined dataset fits in memory."""

    max_listed: int = 1000
    listed: list[Damage] = field(default_factory=list)
    counts: dict[Flaw, int] = field(default_factory=dict)

    def add(
        self,
        finding: Finding,
        part: str | None,
        row: int | None = None,
        pair_id: str | None = None,
    ) -> None:
        """Write down one thing."""
        check, expected, got = finding
        self.counts[check] = self.counts.get(check, 0) + 1
        if len(self.listed) < self.max_listed:
            self.listed.append(Damage(check, expected, str(got), part, row, pair_id))

    @property
    def total(self) -> int:
        """How much was found."""
        return sum(self.counts.values())


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
            log.add((Flaw.PART_MISSING, f"{part.size_bytes} bytes", "no object"), part.key)
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
            if damage := _schema_damage(present_names(file.schema_arrow), part):
                log.add((Flaw.PART_FORMAT, *damage), part.key)
                return
            for batch in iter_batches(file, batch_rows, columns):
                batch.validate(full=True)  # damaged text may be none
                yield batch
                num_rows += batch.num_rows
    except PART_ERRORS as error:
        # The rows before the damage were yielded, so this is the first row that cannot be read.
        log.add((Flaw.PART_FORMAT, "a readable row", error), part.key, num_rows)
        return
    if num_rows != part.num_rows:
        log.add((Flaw.PART_ROWS, f"{part.num_rows} rows", num_rows), part.key)


def _schema_damage(found: pa.Schema, part: PartInfo) -> tuple[str, str] | None:
    """Return the first column that is expected and what is there instead, if any differs.

    Manifest parts of an earlier version may lack columns that may be null.
    """
    is_manifest = part.kind == "manifest"
    for column in MANIFEST_SCHEMA if is_manifest else IMAGES_SCHEMA:
        if column.name not in found.names:
            if not (is_manifest and column.nullable):
                return f"a column {column.name}", f"columns {found.names}"
        elif not (got := found.field(column.name)).equals(column):
            return _describe_column(column), _describe_column(got)
    return None


def _describe_column(column: pa.Field) -> str:
    return f"column {column.name} of {column.type}" + ("" if column.nullable else ", never null")


def _compare_bytes(path: Path, part: PartInfo, log: DamageLog) -> None:
    size_bytes = path.stat().st_size
    if size_bytes != part.size_bytes:
        log.add((Flaw.PART_SIZE, f"{part.size_bytes} bytes", size_bytes), part.key)
    if (found := sha256_of_file(path)) != part.sha256:
        log.add((Flaw.PART_HASH, f"SHA-256 {part.sha256}", found), part.key)
