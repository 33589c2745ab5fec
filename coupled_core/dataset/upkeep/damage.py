"""What is wrong with a dataset, named so exactly that it can be found and repaired."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Check(StrEnum):
    """What `verify` looks at."""

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
    BACKGROUND_SPLIT = "background in one split"
    GROUP_SPLIT = "group in one split"
    DUPLICATE_OF = "duplicate of a pair"
    FUNNEL = "funnel"


@dataclass(frozen=True)
class Damage:
    """One thing that is not as it should be."""

    check: Check
    part: str | None
    """Key of the object; None: the snapshot as a whole."""
    row: int | None
    """Row in it, from 0; None: the object as a whole."""
    expected: str
    got: str
    pair_id: str | None = None

    def __str__(self) -> str:
        where = self.part or "the snapshot"
        where += "" if self.row is None else f" row {self.row}"
        where += "" if self.pair_id is None else f" (pair {self.pair_id})"
        return f"{self.check}: {where}: expected {self.expected}, got {self.got}"


@dataclass
class DamageLog:
    """Counts all damage and remembers the first of it, so that a ruined dataset fits in memory."""

    max_listed: int = 1000
    listed: list[Damage] = field(default_factory=list)
    counts: dict[Check, int] = field(default_factory=dict)

    def add(
        self,
        check: Check,
        part: str | None,
        row: int | None = None,
        *,
        expected: Any,
        got: Any,
        pair_id: str | None = None,
    ) -> None:
        """Write down one thing."""
        self.record(Damage(check, part, row, str(expected), str(got), pair_id))

    def record(self, damage: Damage) -> None:
        """Write down one thing that was found elsewhere, such as in another thread."""
        self.counts[damage.check] = self.counts.get(damage.check, 0) + 1
        if len(self.listed) < self.max_listed:
            self.listed.append(damage)

    @property
    def total(self) -> int:
        """How much was found."""
        return sum(self.counts.values())
