"""Which of several attempts at the same edit are kept: the best of those that pass the filter."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Name = TypeVar("Name", bound=Hashable)
Edit = tuple[str, int, int]
"""A group and two image indices: what all attempts at a pair have in common."""


@dataclass(frozen=True)
class Candidate(Generic[Name]):
    """A pair that nothing speaks against."""

    name: Name
    edit: Edit
    combined: float
    """The combined metric J."""
    attempt: int


def choose_best(
    candidates: Iterable[Candidate[Name]], quota_of: Mapping[Edit, int]
) -> frozenset[Name]:
    """Return the names of the best pairs of each edit, as many as its quota.

    Args:
        candidates: In a fixed order: where scores are equal the earlier attempt wins, then the
            earlier place.
        quota_of: The most pairs to keep of each edit.
    """
    rivals: dict[Edit, list[Candidate[Name]]] = defaultdict(list)
    for candidate in candidates:
        rivals[candidate.edit].append(candidate)
    # sorted is stable: among equal ranks the order of the candidates stays.
    ranked = {edit: sorted(found, key=_rank) for edit, found in rivals.items()}
    return frozenset(c.name for edit, found in ranked.items() for c in found[: quota_of[edit]])


def unmet_edits(
    candidates: Iterable[Candidate[Any]], quota_of: Mapping[Edit, int]
) -> frozenset[Edit]:
    """Return the edits of which fewer pairs pass than their quota allows to keep."""
    passing = Counter(candidate.edit for candidate in candidates)
    return frozenset(edit for edit, quota in quota_of.items() if passing[edit] < quota)


def _rank(candidate: Candidate[Any]) -> tuple[float, int]:
    return -candidate.combined, candidate.attempt
