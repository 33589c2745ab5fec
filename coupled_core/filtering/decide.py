"""Keep a pair or drop it: one threshold on the combined metric, and guards against gaming it."""

from collections.abc import Iterator
from math import isfinite
from typing import Protocol

from coupled_core.config import FilterConfig
from coupled_core.records import METRIC_NAMES, Decision, PairScores, RejectReason

Objection = tuple[RejectReason, str]


class MaskArea(Protocol):
    """All that decisions ask of an `EntityMask`."""

    @property
    def area_fraction(self) -> float:
        """Share of the image that the mask covers, [0, 1]."""


def decide(scores: PairScores, masks: tuple[MaskArea, MaskArea], config: FilterConfig) -> Decision:
    """Decide about one pair; the reasons stand in the order of `RejectReason`, each at most once.

    The guards exist because the threshold alone can be gamed: an empty mask hides a missing entity,
    a mask over everything leaves no background to compare, and two nearly identical images score
    well on it. A score that is not finite never helps a pair: it counts as below every minimum.
    """
    reasons = {reason for reason, _ in explain(scores, masks, config)}
    ordered = tuple(reason for reason in RejectReason if reason in reasons)
    return Decision(kept=not ordered, reject_reasons=ordered)


def explain(
    scores: PairScores, masks: tuple[MaskArea, MaskArea], config: FilterConfig
) -> list[Objection]:
    """Return every objection to a pair as reason and sentence (value and bound); empty: keep it."""
    return [
        *_check_scores(scores, config),
        *_check_masks(scores, masks, config),
        *_check_difference(scores, config),
    ]


def _check_scores(scores: PairScores, config: FilterConfig) -> Iterator[Objection]:
    odd = [name for name in METRIC_NAMES if not isfinite(getattr(scores, name))]
    if odd:
        yield (
            RejectReason.BELOW_MIN_COMBINED,
            f"not finite, so below every minimum: {', '.join(odd)}",
        )
    elif scores.combined < config.min_combined:
        yield (
            RejectReason.BELOW_MIN_COMBINED,
            f"combined metric {scores.combined:.3f} is below min_combined {config.min_combined:g}",
        )


def _check_masks(
    scores: PairScores, masks: tuple[MaskArea, MaskArea], config: FilterConfig
) -> Iterator[Objection]:
    fractions = [(f"entity mask {i}", mask.area_fraction) for i, mask in enumerate(masks)]
    for name, fraction in fractions:
        if fraction == 0.0 or not fraction >= config.min_mask_fraction:
            yield (
                RejectReason.EMPTY_MASK,
                (
                    f"{name} covers {fraction:.4f} of the image, "
                    f"less than min_mask_fraction {config.min_mask_fraction:g}"
                ),
            )
    for name, fraction in [*fractions, ("the joint region", scores.joint_entity_fraction)]:
        if not fraction <= config.max_mask_fraction:
            yield (
                RejectReason.MASK_TOO_LARGE,
                (
                    f"{name} covers {fraction:.4f} of the image, "
                    f"more than max_mask_fraction {config.max_mask_fraction:g}"
                ),
            )


def _check_difference(scores: PairScores, config: FilterConfig) -> Iterator[Objection]:
    if not scores.pixel_mse >= config.min_pixel_mse:
        yield (
            RejectReason.NEAR_IDENTICAL,
            (
                f"the images differ by a mean squared error of {scores.pixel_mse:.3f}, "
                f"less than min_pixel_mse {config.min_pixel_mse:g}"
            ),
        )
