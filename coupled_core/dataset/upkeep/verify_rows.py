"""Manifest rows, one by one and all together: which of them make no sense."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coupled_core.dataset.backgrounds import PARTITIONS, canonical_background
from coupled_core.dataset.funnel import FUNNEL_COLUMNS, Funnel, count_rows
from coupled_core.dataset.parts import PartInfo, Place
from coupled_core.dataset.rows import Row
from coupled_core.dataset.upkeep.damage import DamageLog, Finding, Flaw, read_batches
from coupled_core.dataset.upkeep.partition import NearBackgrounds, find_near_backgrounds
from coupled_core.filters import NUMBERS, find_objections
from coupled_core.records import METRIC_NAMES, REQUIRED_METRICS, RejectReason, Status

_PARTITIONS = ("", *PARTITIONS)
# 41 bytes a row: ids in two halves, texts by their hash, so that ten million rows fit in memory.
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
        self._holders: dict[str, dict[str, None]] = defaultdict(dict)
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
            # So that `verify` reads an image part's manifest parts again, and no others.
            if row["image_part"] is not None:
                self._holders[row["image_part"]][part] = None
        self._blocks.append(block)

    def holders_of(self, image_part: str) -> Iterable[str]:
        """Return the manifest parts with rows whose images stand in an image part, in order."""
        return self._holders.get(image_part, ())

    def near_backgrounds(self) -> list[NearBackgrounds]:
        """Return backgrounds of kept pairs in different partitions that differ by a word or two."""
        return find_near_backgrounds((*key, count) for key, count in self._backgrounds.items())

    def report(self, log: DamageLog) -> None:
        """Write down pair ids that occur twice, and what crosses partitions."""
        if not self._blocks:
            return
        rows = np.concatenate(self._blocks)
        for first, again in _repeats(rows):
            finding = (Flaw.PAIR_ID, "an id of its own", f"the id of {self._name(first)}")
            self._log_row(log, finding, again)
        self._report_lost_keepers(rows, log)
        for field, check in (
            ("background", Flaw.BACKGROUND_PARTITION),
            ("group", Flaw.GROUP_PARTITION),
        ):
            for first, other in _crossings(rows, field):
                expected = f"{_PARTITIONS[first['partition']]}, as in {self._name(first)}"
                self._log_row(log, (check, expected, _PARTITIONS[other["partition"]]), other)

    def _report_lost_keepers(self, rows: NDArray[Any], log: DamageLog) -> None:
        keepers = np.array([_halves(each[3]) for each in self._duplicates], np.uint64)
        keepers = keepers.reshape(-1, 2)
        there = np.isin(_mix(keepers[:, 0], keepers[:, 1]), _mix(rows["id_high"], rows["id_low"]))
        for (part, row, pair_id, keeper), is_there in zip(self._duplicates, there, strict=True):
            if not is_there:
                expected = f"pair {keeper}, which it duplicates"
                log.add((Flaw.DUPLICATE_OF, expected, "none"), self._parts[part], row, pair_id)

    def _log_row(self, log: DamageLog, finding: Finding, row: Any) -> None:
        log.add(finding, *self._place(row), f"{row['id_high']:016x}{row['id_low']:016x}")

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
    # Never 0, which stands for no text.
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) or 1


def _repeats(rows: NDArray[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield rows whose id another row has, with that row."""
    ordered = rows[np.lexsort((rows["row"], rows["part"], rows["id_low"], rows["id_high"]))]
    # Equal ids stand together after the sort, the first of them first.
    same = (np.diff(ordered["id_high"]) == 0) & (np.diff(ordered["id_low"]) == 0)
    for index in np.flatnonzero(same):
        yield ordered[index], ordered[index + 1]


def _crossings(rows: NDArray[Any], field: str) -> Iterator[tuple[Any, Any]]:
    """Yield one row for each further partition of a background or group, with its first row."""
    known = rows[(rows[field] != 0) & (rows["partition"] != 0)]
    # By background (or group), in it by partition, then by place: where the partition changes
    # within one background, a background is in two.
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
_LATER = frozenset(METRIC_NAMES).difference(REQUIRED_METRICS)
_MADE = ("image_0_sha256", "image_1_sha256", *(name for name in NUMBERS if name not in _LATER))


def verify_rows(
    path: Path,
    part: PartInfo,
    ledger: RowLedger,
    log: DamageLog,
    *,
    thresholds: Mapping[str, float],
    num_images: Mapping[str, int],
) -> Funnel:
    """Check the rows of a manifest part one by one, and return their funnel.

    Args:
        ledger: Takes the rows, to compare them with all others.
        thresholds: The bounds that decided about the rows, by the setting of their filter.
        num_images: Rows of each part of the snapshot that holds images.
    """
    seen: list[Row] = []
    absent = dict.fromkeys(_COLUMNS)
    for batch in read_batches(path, part, log, columns=_COLUMNS, batch_rows=_BATCH_ROWS):
        # Parts of earlier versions lack columns.
        rows = [absent | row for row in batch.to_pylist()]
        ledger.add(part.key, len(seen), rows)
        for index, row in enumerate(rows, len(seen)):
            for finding in chain(_check_decision(row, thresholds), _check_place(row, num_images)):
                log.add(finding, part.key, index, row["pair_id"])
        seen += [{name: row[name] for name in FUNNEL_COLUMNS} for row in rows]
    return count_rows(seen)


def _check_decision(row: Row, thresholds: Mapping[str, float]) -> Iterator[Finding]:
    kept, review = row["kept"], row["review_status"]
    if kept and row["status"] != Status.OK:
        yield Flaw.DECISION, "status ok of a kept pair", row["status"]
        return
    # Kept without a reason, or dropped with one; both or neither is a contradiction.
    if kept == bool(row["reject_reasons"]):
        expected = "no reasons of a kept pair" if kept else "a reason why it is not kept"
        yield Flaw.DECISION, expected, row["reject_reasons"]
    if kept and review == "drop":
        yield Flaw.DECISION, "a pair that a person dropped not kept", "kept"
    if RejectReason.DUPLICATE in row["reject_reasons"] and row["duplicate_of"] is None:
        yield Flaw.DUPLICATE_OF, "the pair that it duplicates", "none"
    if row["status"] != Status.OK:
        return
    if empty := [name for name in _MADE if row[name] is None]:
        yield Flaw.DECISION, "every image and score of a made pair", empty
    # A person may keep what the thresholds would drop.
    elif kept and review != "keep":
        found = [f"{reason} ({why})" for reason, why in find_objections(row, thresholds)]
        if found:
            yield Flaw.THRESHOLDS, "a kept pair within the thresholds", "; ".join(found)


def _check_place(row: Row, num_images: Mapping[str, int]) -> Iterator[Finding]:
    part, place = row["image_part"], row["image_row"]
    if part is None:
        if row["kept"]:
            yield Flaw.PLACE, "images of a kept pair", "none stored"
    elif part not in num_images:
        yield Flaw.PLACE, "an image part of the snapshot", part
    elif place is None or not 0 <= place < num_images[part]:
        yield Flaw.PLACE, f"a row of {part} below {num_images[part]}", place
    elif row["kept"] and not part.startswith("images/"):
        yield Flaw.PLACE, "images of a kept pair below images/", part
