"""The part of `verify` that reads manifest rows: does each of them make sense by itself."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from coupled_core.dataset.damage import Check, DamageLog
from coupled_core.dataset.funnel import FUNNEL_COLUMNS, Funnel, count_rows
from coupled_core.dataset.parts import PartInfo
from coupled_core.dataset.row_ledger import RowLedger
from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.dataset.verify_parts import read_batches
from coupled_core.records import PairScores, RejectReason, Status

_BATCH_ROWS = 4096
_COLUMNS = sorted(
    {
        *FUNNEL_COLUMNS,
        *(field.name for field in fields(PairScores)),
        *("pair_id", "split", "background_prompt", "review_status", "image_part", "image_row"),
        "duplicate_of",
        *("mask_0_area_fraction", "mask_1_area_fraction", "image_1_sha256"),
    }
)
_MADE = ("image_0_sha256", "image_1_sha256", *(field.name for field in fields(PairScores)))


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
