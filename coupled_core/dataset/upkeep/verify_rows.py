"""Manifest rows, one by one and all together: which of them make no sense."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coupled_core.dataset.backgrounds import PARTITIONS, canonical_background
from coupled_core.dataset.funnel import FUNNEL_COLUMNS, Funnel, count_rows
from coupled_core.dataset.parts import PartInfo, Place
from coupled_core.dataset.rows import Row
from coupled_core.dataset.upkeep.damage import Check, DamageLog, read_batches
from coupled_core.dataset.upkeep.partition import NearBackgrounds, find_near_backgrounds
from coupled_core.filters import NUMBERS, find_objections
from coupled_core.records import RejectReason, Status

_PARTITIONS = ("", *PARTITIONS)
_FIELDS = np.dtype(
    [
        ("id_high", np.uint64),
        ("id_low", np.uint64),
        ("group", np.uint64),
        ("background", np.uint64),
        ("partition", np.uint8),
        ("part", np.int32),
        ("row", np.int32),
    ]
)


class RowLedger:
    """Collects rows part by part; `report` says what is wrong with them together."""

    def __init__(self) -> None:
        self._blocks: list[NDArray[Any]] = []
        self._parts: list[str] = []
        self._holders: dict[str, set[str]] = defaultdict(set)
        self._backgrounds: Counter[tuple[str, str]] = Counter()
        self._duplicates: list[tuple[int, int, str, str]] = []
        """Part, row, pair_id and the pair that it duplicates."""

    @property
    def num_rows(self) -> int:
        """How many rows were added."""
        return sum(len(block) for block in self._blocks)

    def add(self, part: str, first_row: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take rows of a manifest part that begin at `first_row` of it."""
        if not self._parts or self._parts[-1] != part:
            self._parts.append(part)
        block = np.empty(len(rows), _FIELDS)
        for index, row in enumerate(rows):
            high, low = _halves(row["pair_id"])
            name = row["partition"]
            partition = _PARTITIONS.index(name) if name in _PARTITIONS else 0
            background = row["background_prompt"]
            plain = None if background is None else canonical_background(background)
            place = (len(self._parts) - 1, first_row + index)
            if row["duplicate_of"] is not None:
                self._duplicates.append((*place, row["pair_id"], row["duplicate_of"]))
            if row["kept"] and partition and background is not None:
                self._backgrounds[background, name] += 1
            block[index] = (high, low, _hash(row["group_id"]), _hash(plain), partition, *place)
            if row["image_part"] is not None:
                self._holders[row["image_part"]].add(part)
        self._blocks.append(block)

    def holders_of(self, image_part: str) -> set[str]:
        """Return the manifest parts with rows whose images stand in an image part."""
        return self._holders[image_part]

    def near_backgrounds(self) -> list[NearBackgrounds]:
        """Return backgrounds of kept pairs in different partitions that differ by a word or two."""
        return find_near_backgrounds((*key, count) for key, count in self._backgrounds.items())

    def report(self, log: DamageLog) -> None:
        """Write down pair ids that occur twice, and what crosses partitions."""
        if not self._blocks:
            return
        rows = np.concatenate(self._blocks)
        for first, again in _repeats(rows):
            got = f"the id of {self._name(first)}"
            self._log_row(log, Check.PAIR_ID, again, expected="an id of its own", got=got)
        self._report_lost_keepers(rows, log)
        crossings = {
            "background": Check.BACKGROUND_PARTITION,
            "group": Check.GROUP_PARTITION,
        }
        for field, check in crossings.items():
            for first, other in _crossings(rows, field):
                expected = f"{_PARTITIONS[first['partition']]}, as in {self._name(first)}"
                got = _PARTITIONS[other["partition"]]
                self._log_row(log, check, other, expected=expected, got=got)

    def _report_lost_keepers(self, rows: NDArray[Any], log: DamageLog) -> None:
        keepers = np.array([_halves(each[3]) for each in self._duplicates], np.uint64)
        keepers = keepers.reshape(-1, 2)
        there = np.isin(_mix(keepers[:, 0], keepers[:, 1]), _mix(rows["id_high"], rows["id_low"]))
        for (part, row, pair_id, keeper), is_there in zip(self._duplicates, there, strict=True):
            if not is_there:
                place = (self._parts[part], row)
                expected = f"pair {keeper}, which it duplicates"
                log.add(Check.DUPLICATE_OF, *place, expected=expected, got="none", pair_id=pair_id)

    def _log_row(self, log: DamageLog, check: Check, row: Any, *, expected: str, got: str) -> None:
        pair_id = f"{row['id_high']:016x}{row['id_low']:016x}"
        log.add(check, *self._place(row), expected=expected, got=got, pair_id=pair_id)

    def _place(self, row: Any) -> Place:
        return self._parts[row["part"]], int(row["row"])

    def _name(self, row: Any) -> str:
        part, index = self._place(row)
        return f"{part} row {index}"


def _halves(pair_id: str) -> tuple[int, int]:
    try:
        return int(pair_id[:16], 16), int(pair_id[16:], 16)
    except (ValueError, TypeError):  # not an id of ours: told apart by its hash
        return _hash(str(pair_id)), 0


def _mix(high: NDArray[np.uint64], low: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return 64 bits of an id's 128; other ids have others, but for one in 10^19."""
    return high * np.uint64(0x9E3779B97F4A7C15) ^ low


def _hash(text: str | None) -> int:
    """Return 64 bits of a text; 0 for None."""
    if text is None:
        return 0
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) or 1


def _repeats(rows: NDArray[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield rows whose id another row has, with that row."""
    ordered = rows[np.lexsort((rows["row"], rows["part"], rows["id_low"], rows["id_high"]))]
    same = (np.diff(ordered["id_high"]) == 0) & (np.diff(ordered["id_low"]) == 0)
    for index in np.flatnonzero(same):
        yield ordered[index], ordered[index + 1]


def _crossings(rows: NDArray[Any], field: str) -> Iterator[tuple[Any, Any]]:
    """Yield one row for each further partition of a background or group, with its first row."""
    known = rows[(rows[field] != 0) & (rows["partition"] != 0)]
    ordered = known[np.lexsort((known["row"], known["part"], known["partition"], known[field]))]
    if not len(ordered):
        return
    is_first = np.concatenate(([True], np.diff(ordered[field]) != 0))
    is_other = ~is_first & np.concatenate(([False], np.diff(ordered["partition"]) != 0))
    starts = np.flatnonzero(is_first)
    for index in np.flatnonzero(is_other):
        yield ordered[starts[np.searchsorted(starts, index, side="right") - 1]], ordered[index]


_BATCH_ROWS = 4096
_COLUMNS = sorted(
    {
        *FUNNEL_COLUMNS,
        *NUMBERS,
        *("pair_id", "partition", "background_prompt", "review_status", "image_part", "image_row"),
        *("duplicate_of", "image_1_sha256", "extra_scores"),
    }
)
_MADE = ("image_0_sha256", "image_1_sha256", *NUMBERS)


@dataclass(frozen=True)
class ManifestChecks:
    """Checks the rows of one manifest part."""

    part: PartInfo
    places: Mapping[str, int]
    """Number of rows of each image part of the snapshot."""
    thresholds: Mapping[str, float]
    """The bounds that decided about the rows of the part, by the setting of their filter."""
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
        elif row["kept"] and row["review_status"] != "keep":
            found = [f"{reason} ({why})" for reason, why in find_objections(row, self.thresholds)]
            if found:
                expected, got = "a kept pair within the thresholds", "; ".join(found)
                self._add(Check.THRESHOLDS, index, row, expected, got)

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
