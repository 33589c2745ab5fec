"""Reject reasons in words."""

from collections.abc import Mapping
from dataclasses import dataclass

from coupled_core.records import RejectReason

_WORDS: Mapping[str, str] = {
    RejectReason.BELOW_MIN_COMBINED: "The combined score is below the threshold.",
    RejectReason.EMPTY_MASK: "In one of the images the entity was not found.",
    RejectReason.MASK_TOO_LARGE: "The entities leave too little background to compare.",
    RejectReason.NEAR_IDENTICAL: "The images are nearly the same: nothing changed.",
    RejectReason.NOT_BEST: "Another seed made a better pair of the same two prompts.",
    RejectReason.DUPLICATE: "The dataset holds a pair like it.",
    RejectReason.UNSAFE: "The content filter objects.",
    RejectReason.REVIEWED_OUT: "A person looked at it and said drop.",
    RejectReason.SPLIT_FAILED: "The prompts could not be split into background and entities.",
    RejectReason.GENERATION_FAILED: "The model made no usable images.",
    RejectReason.INVALID_INPUT: "The row of the prompt set cannot be used.",
}


@dataclass(frozen=True)
class ReasonCount:
    """How many pairs have a reason."""

    reason: str
    words: str
    """What it means; empty for one that this version does not know."""
    num_pairs: int


def explain_reasons(counts: Mapping[str, int]) -> list[ReasonCount]:
    """Return reasons in words, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [ReasonCount(reason, _WORDS.get(reason, ""), count) for reason, count in ordered]
