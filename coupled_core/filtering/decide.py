"""Keep a pair or drop it: whatever a filter of the table has against it."""

from coupled_core.config import FilterConfig
from coupled_core.filters import Objection, find_objections, name_numbers
from coupled_core.records import Decision, EntityMask, PairScores


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
