"""How many groups and pairs came through each stage, counted from manifest rows."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from coupled_core.errors import DatasetError
from coupled_core.records import Status

FUNNEL_COLUMNS = ("group_id", "status", "kept", "reject_reasons", "image_0_sha256", "attempt")
"""The manifest columns that a funnel is counted from."""


@dataclass(frozen=True)
class Funnel:
    """Counts of a shard, a run or a dataset; funnels add up to funnels."""

    groups_in: int = 0
    """Input groups, unusable ones too."""
    groups_quarantined: int = 0
    """Input rows that could not be used."""
    groups_failed: int = 0
    """Groups of which no pair went through every stage."""
    pairs_planned: int = 0
    """All pairs of usable groups, each attempt at one counted."""
    pairs_retried: int = 0
    """Those among them that are second and later attempts."""
    pairs_failed: int = 0
    """Pairs that a stage could not make; their status is failed."""
    pairs_generated: int = 0
    pairs_scored: int = 0
    pairs_kept: int = 0
    pairs_dropped: int = 0
    """Scored, but not kept."""
    dropped_by_reason: Mapping[str, int] = field(default_factory=dict)
    """A pair counts once for each of its reasons."""
    failed_by_reason: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: "Funnel") -> "Funnel":
        mine, theirs = asdict(self), asdict(other)
        return Funnel(**{name: _add(mine[name], theirs[name]) for name in mine})

    def check(self) -> Self:
        """Return itself when no pair is lost or counted twice.

        Raises:
            DatasetError: it does not add up.
        """
        reasons = self.dropped_by_reason.values()
        facts = {
            "planned = failed + scored": self.pairs_planned
            == self.pairs_failed + self.pairs_scored,
            "scored = kept + dropped": self.pairs_scored == self.pairs_kept + self.pairs_dropped,
            "scored <= generated <= planned": self.pairs_scored
            <= self.pairs_generated
            <= self.pairs_planned,
            "each dropped pair has a reason": max(reasons, default=0)
            <= self.pairs_dropped
            <= sum(reasons),
            "failed groups <= usable groups": self.groups_failed
            <= self.groups_in - self.groups_quarantined,
        }
        wrong = [fact for fact, holds in facts.items() if not holds]
        if wrong:
            raise DatasetError(f"the funnel does not add up ({'; '.join(wrong)}): {self}")
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the funnel that `to_dict` wrote; counts that later versions added are ignored."""
        return cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})

    def render(self) -> str:
        """Return the funnel as lines of text for a terminal."""
        lines = [("groups in", self.groups_in), ("  quarantined", self.groups_quarantined)]
        lines += [("  failed", self.groups_failed), ("pairs planned", self.pairs_planned)]
        lines += [("  tried again", self.pairs_retried)] if self.pairs_retried else []
        lines += [("  failed", self.pairs_failed), *_indented(self.failed_by_reason)]
        lines += [("pairs generated", self.pairs_generated), ("pairs scored", self.pairs_scored)]
        lines += [("pairs kept", self.pairs_kept), ("  dropped", self.pairs_dropped)]
        lines += _indented(self.dropped_by_reason)
        return "\n".join(f"{name:<28}{count:>9,}" for name, count in lines)


def count_rows(rows: Iterable[Mapping[str, Any]]) -> Funnel:
    """Count manifest rows by their `FUNNEL_COLUMNS`; all rows of a group must be there."""
    statuses: dict[str | None, set[str]] = defaultdict(set)
    counts: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for row in rows:
        if row["status"] == Status.QUARANTINED:
            counts["groups_quarantined"] += 1
            continue
        # A group has failed when all its pairs have; one that was made is enough to use it.
        statuses[row["group_id"]].add(row["status"])
        counts["pairs_planned"] += 1
        counts["pairs_retried"] += (row["attempt"] or 1) > 1
        counts["pairs_generated"] += row["image_0_sha256"] is not None
        if row["status"] == Status.FAILED:
            counts["pairs_failed"] += 1
            failed.update(row["reject_reasons"])
        else:
            counts["pairs_scored"] += 1
            counts["pairs_kept" if row["kept"] else "pairs_dropped"] += 1
            dropped.update(row["reject_reasons"])
    return Funnel(
        groups_in=len(statuses) + counts["groups_quarantined"],
        groups_failed=sum(found == {Status.FAILED} for found in statuses.values()),
        dropped_by_reason=dict(sorted(dropped.items())),
        failed_by_reason=dict(sorted(failed.items())),
        **counts,
    )


def _add(mine: Any, theirs: Any) -> Any:
    if isinstance(mine, dict):
        return {key: mine.get(key, 0) + theirs.get(key, 0) for key in sorted({*mine, *theirs})}
    return mine + theirs


def _indented(by_reason: Mapping[str, int]) -> list[tuple[str, int]]:
    ordered = sorted(by_reason.items(), key=lambda item: (-item[1], item[0]))
    return [(f"    {reason}", count) for reason, count in ordered]
