"""Keep a pair or drop it: by the filters, and of several attempts at one edit the best."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from coupled_core.config import FilterConfig
from coupled_core.filters import Objection, find_objections, name_numbers
from coupled_core.records import Decision, EntityMask, PairScores

Name = TypeVar("Name", bound=Hashable)
Edit = tuple[str, int, int]
"""Group and two image indices of it: what all attempts at an edit have in common."""


def decide(
    scores: PairScores, masks: tuple[EntityMask, EntityMask], config: FilterConfig
) -> Decision:
    """Decide about one pair; its reasons stand in the order of the table, each once.

    The guards among the filters exist because the threshold on the combined score alone can be
    gamed: an empty mask hides a missing entity, a mask over everything leaves no background to
    compare, and two nearly identical images score well on it.
    """
    reasons = tuple(dict.fromkeys(reason for reason, _ in explain(scores, masks, config)))
    return Decision(kept=not reasons, reject_reasons=reasons)


def explain(
    scores: PairScores, masks: tuple[EntityMask, EntityMask], config: FilterConfig
) -> list[Objection]:
    """Return every objection to a pair as reason and sentence; empty: keep it."""
    return find_objections(name_numbers(scores, masks), config.model_dump())


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
    ranked = {edit: sorted(found, key=_rank) for edit, found in rivals.items()}
    return frozenset(c.name for edit, found in ranked.items() for c in found[: quota_of[edit]])


def unmet_edits(
    candidates: Iterable[Candidate[Any]], quota_of: Mapping[Edit, int]
) -> frozenset[Edit]:
    """Return the edits of which fewer pairs pass than their quota."""
    passing = Counter(candidate.edit for candidate in candidates)
    return frozenset(edit for edit, quota in quota_of.items() if passing[edit] < quota)


def _rank(candidate: Candidate[Any]) -> tuple[float, int]:
    return -candidate.combined, candidate.attempt
