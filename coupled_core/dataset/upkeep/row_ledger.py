"""What must be compared over all rows of a snapshot, in 50 bytes a row and its backgrounds."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coupled_core.dataset.backgrounds import (
    NearBackgrounds,
    canonical_background,
    find_near_backgrounds,
)
from coupled_core.dataset.upkeep.damage import Check, DamageLog

_SPLITS = ("", "train", "val", "test")
_FIELDS = np.dtype(
    [
        ("id_high", np.uint64),
        ("id_low", np.uint64),
        ("group", np.uint64),
        ("background", np.uint64),
        ("split", np.uint8),
        ("part", np.int32),
        ("row", np.int32),
    ]
)


class RowLedger:
    """Collects rows part by part; `report` says what is wrong with them together."""

    def __init__(self) -> None:
        self._blocks: list[NDArray[Any]] = []
        self._parts: list[str] = []
        self._holders: dict[str, set[str]] = {}
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
            split = _SPLITS.index(row["split"]) if row["split"] in _SPLITS else 0
            background = row["background_prompt"]
            plain = None if background is None else canonical_background(background)
            place = (len(self._parts) - 1, first_row + index)
            if row["duplicate_of"] is not None:
                self._duplicates.append((*place, row["pair_id"], row["duplicate_of"]))
            if row["kept"] and split and background is not None:
                self._backgrounds[background, row["split"]] += 1
            block[index] = (high, low, _hash(row["group_id"]), _hash(plain), split, *place)
            if row["image_part"] is not None:
                self._holders.setdefault(row["image_part"], set()).add(part)
        self._blocks.append(block)

    def holders_of(self, image_part: str) -> set[str]:
        """Return the manifest parts with rows whose images stand in an image part."""
        return self._holders.get(image_part, set())

    def near_backgrounds(self) -> list[NearBackgrounds]:
        """Return backgrounds of kept pairs in different splits that differ by a word or two."""
        return find_near_backgrounds((*key, count) for key, count in self._backgrounds.items())

    def report(self, log: DamageLog) -> None:
        """Write down pair ids that occur twice, and what crosses splits."""
        if not self._blocks:
            return
        rows = np.concatenate(self._blocks)
        for first, again in _repeats(rows):
            log.add(
                Check.PAIR_ID,
                *self._place(again),
                expected="an id of its own",
                got=f"the id of {self._name(first)}",
                pair_id=f"{again['id_high']:016x}{again['id_low']:016x}",
            )
        self._report_lost_keepers(rows, log)
        for field, check in (
            ("background", Check.BACKGROUND_SPLIT),
            ("group", Check.GROUP_SPLIT),
        ):
            for first, other in _crossings(rows, field):
                log.add(
                    check,
                    *self._place(other),
                    expected=f"{_SPLITS[first['split']]}, as in {self._name(first)}",
                    got=_SPLITS[other["split"]],
                    pair_id=f"{other['id_high']:016x}{other['id_low']:016x}",
                )

    def _report_lost_keepers(self, rows: NDArray[Any], log: DamageLog) -> None:
        keepers = np.array([_halves(each[3]) for each in self._duplicates], np.uint64)
        keepers = keepers.reshape(-1, 2)
        there = np.isin(_mix(keepers[:, 0], keepers[:, 1]), _mix(rows["id_high"], rows["id_low"]))
        for (part, row, pair_id, keeper), is_there in zip(self._duplicates, there, strict=True):
            if not is_there:
                place = (self._parts[part], row)
                expected = f"pair {keeper}, which it duplicates"
                log.add(Check.DUPLICATE_OF, *place, expected=expected, got="none", pair_id=pair_id)

    def _place(self, row: Any) -> tuple[str, int]:
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
    """Yield one row for each further split that a background or group is in, with its first row."""
    known = rows[(rows[field] != 0) & (rows["split"] != 0)]
    ordered = known[np.lexsort((known["row"], known["part"], known["split"], known[field]))]
    if not len(ordered):
        return
    is_first = np.concatenate(([True], np.diff(ordered[field]) != 0))
    is_other = ~is_first & np.concatenate(([False], np.diff(ordered["split"]) != 0))
    starts = np.flatnonzero(is_first)
    for index in np.flatnonzero(is_other):
        yield ordered[starts[np.searchsorted(starts, index, side="right") - 1]], ordered[index]
