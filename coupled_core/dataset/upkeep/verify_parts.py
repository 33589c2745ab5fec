"""Parts as bytes, and manifest rows one by one: what is missing, damaged or makes no sense."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from coupled_core.dataset.columns import IMAGES_SCHEMA, MANIFEST_SCHEMA
from coupled_core.dataset.funnel import FUNNEL_COLUMNS, Funnel, count_rows
from coupled_core.dataset.part_files import PART_ERRORS, iter_rows
from coupled_core.dataset.parts import PartInfo
from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.dataset.upkeep.damage import Check, DamageLog
from coupled_core.dataset.upkeep.row_ledger import RowLedger
from coupled_core.errors import NotFoundError
from coupled_core.records import METRIC_NAMES, RejectReason, Status
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


_BATCH_ROWS = 4096
_COLUMNS = sorted(
    {
        *FUNNEL_COLUMNS,
        *METRIC_NAMES,
        *("pair_id", "split", "background_prompt", "review_status", "image_part", "image_row"),
        "duplicate_of",
        *("mask_0_area_fraction", "mask_1_area_fraction", "image_1_sha256"),
    }
)
_MADE = ("image_0_sha256", "image_1_sha256", *METRIC_NAMES)


@dataclass(frozen=True)
class ManifestChecks:
    """Checks the rows of one manifest part."""

    part: PartInfo
    places: Mapping[str, int]
    """Number of rows of each image part of the snapshot."""
    objections: Callable[[Row], tuple[RejectReason, ...]]
    """What the thresholds of the part's run have against a scored row."""
    log: DamageLog

    def verify(self, path: Path, ledger: RowLedger) -> Funnel:
        """Check all rows, hand them to the ledger, and return their funnel."""
        rows_seen: list[Row] = []
        for batch in read_batches(
            path, self.part, self.log, columns=_COLUMNS, batch_rows=_BATCH_ROWS
        ):
            absent = dict.fromkeys(_COLUMNS)
            rows = [absent | row for row in batch.to_pylist()]
            ledger.add(self.part.key, len(rows_seen), rows)
            for index, row in enumerate(rows, len(rows_seen)):
                self._check_decision(index, row)
                self._check_place(index, row)
            rows_seen += [{name: row[name] for name in FUNNEL_COLUMNS} for row in rows]
        return count_rows(rows_seen)

    def _check_decision(self, index: int, row: Row) -> None:
        if row["kept"] and row["status"] != Status.OK:
            self._add(Check.DECISION, index, row, "status ok of a kept pair", row["status"])
            return
        if row["kept"] == bool(row["reject_reasons"]):
            expected = "no reasons of a kept pair" if row["kept"] else "a reason why it is not kept"
            self._add(Check.DECISION, index, row, expected, row["reject_reasons"])
        if row["kept"] and row["review_status"] == "drop":
            self._add(Check.DECISION, index, row, "a pair that a person dropped not kept", "kept")
        if RejectReason.DUPLICATE in row["reject_reasons"] and row["duplicate_of"] is None:
            self._add(Check.DUPLICATE_OF, index, row, "the pair that it duplicates", "none")
        if row["status"] == Status.OK:
            self._check_thresholds(index, row)

    def _check_thresholds(self, index: int, row: Row) -> None:
        empty = [name for name in _MADE if row[name] is None]
        if empty:
            self._add(Check.DECISION, index, row, "every image and score of a made pair", empty)
        elif row["kept"] and row["review_status"] != "keep" and (found := self.objections(row)):
            numbers = {name: row[name] for name in ("combined", "joint_entity_fraction")}
            what = f"{', '.join(found)} {numbers}"
            self._add(Check.THRESHOLDS, index, row, "a kept pair within the thresholds", what)

    def _check_place(self, index: int, row: Row) -> None:
        part, place = row["image_part"], row["image_row"]
        if part is None:
            if row["kept"]:
                self._add(Check.PLACE, index, row, "images of a kept pair", "none stored")
        elif part not in self.places:
            self._add(Check.PLACE, index, row, "an image part of the snapshot", part)
        elif place is None or not 0 <= place < self.places[part]:
            expected = f"a row of {part} below {self.places[part]}"
            self._add(Check.PLACE, index, row, expected, place)
        elif row["kept"] and not part.startswith("images/"):
            self._add(Check.PLACE, index, row, "images of a kept pair below images/", part)

    def _add(self, check: Check, index: int, row: Row, expected: str, got: Any) -> None:
        self.log.add(
            check, self.part.key, index, expected=expected, got=got, pair_id=row["pair_id"]
        )


def image_places(snapshot: Snapshot) -> dict[str, int]:
    """Return the number of rows of each part of a snapshot that holds images."""
    return {part.key: part.num_rows for part in snapshot.parts if part.kind != "manifest"}
