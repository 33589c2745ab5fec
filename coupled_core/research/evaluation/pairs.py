"""Every pair that a method makes of some samples, scored, guarded, and with what it cost."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Protocol

import numpy as np

from coupled_core.config import FilterConfig
from coupled_core.filtering.decide import explain
from coupled_core.filters import MASK_TOO_LARGE, list_filters, order_reasons
from coupled_core.records import (
    EntityMask,
    GeneratedSample,
    PairScores,
    Rejection,
    RejectReason,
    Sample,
)
from coupled_core.research.evaluation.rings import RingFeatures, describe_rings
from coupled_core.research.methods.method import Knobs, Method, MethodOutput
from coupled_core.scoring.metrics import combined
from coupled_core.scoring.pair_scorer import PairScorer

_UNRELATED_MSE = 255.0**2 / 6.0
"""Mean squared difference of two independent values, uniform in 0..255."""

FLOOR_OBJECTIVE = combined(-_UNRELATED_MSE / 100.0, 0.0)
"""J of a pair that shows nothing it should, about -3.29: backgrounds as far apart as two images of
noise, CLIP cosines of 0.

What a pair counts whose guard fires (no entity found, mask over most of the image, two images that
hardly differ, no images at all). Without it, losing the entities pays: with nothing in the way the
backgrounds agree perfectly, and J rises. The floor lies below every honest pair (the worst row of
the published tables has -0.92), and no pair counts less than it, so a method can never gain by
making a guard fire. It depends on no CLIP model and on no other method.
"""

OnProgress = Callable[[int, int], None]
"""Called after each batch with (samples done, samples in all)."""
OnImages = Callable[[Sample, Sequence[np.ndarray], Sequence[EntityMask]], None]
"""Called with a sample, its images (uint8, (H, W, 3), RGB) and one mask an image."""


class EntityJudge(Protocol):
    """Looks at images without knowing what made them."""

    def judge(
        self, images: Sequence[np.ndarray], entity_prompts: Sequence[str]
    ) -> tuple[bool | None, ...]:
        """Say of each image whether it shows its entity; None: the judge cannot tell.

        Args:
            images: uint8, (H, W, 3), RGB.
            entity_prompts: one an image.
        """


@dataclass(frozen=True)
class EvaluatedPair:
    """One pair that one method made."""

    method: str
    group_id: str
    seed: int
    image_i: int
    image_j: int
    scores: PairScores | None
    """None: there are no images."""
    guards: tuple[str, ...]
    """Reject reasons of the guards that fired; generation_failed: there are no images."""
    objective: float
    """J, or `FLOOR_OBJECTIVE` where a guard fired; never below it, always finite."""
    seconds: float
    """The pair's share of the sample's wall time."""
    model_evaluations: float
    """The pair's share of the rows that went through the transformer."""
    right_fraction: float | None = None
    """Share of the two images that show their entity, by a judge apart from the scorers; None:
    there is no such judge, or it cannot tell."""
    rings: tuple[RingFeatures | None, ...] = ()
    """What surrounds the entities of both images, see `describe_rings`; empty: there are none."""
    stock_overlap: tuple[float | None, ...] = ()
    """Intersection over union of each entity's mask with that of the uncoupled image of the same
    prompt and noise; None: nothing was found there. Empty: not asked for."""
    stock_outside: tuple[float | None, ...] = ()
    """Share of each of those entities outside the region; empty where there are no regions, too."""


FindStockMasks = Callable[[Sample], Sequence[np.ndarray] | np.ndarray | None]
"""Returns the entities' masks, bool (H, W), in uncoupled images of a sample; None: there are none.
"""


class Evaluator:
    """Runs methods on samples and scores what they make; holds no state between calls."""

    def __init__(
        self,
        scorer: PairScorer,
        filter: FilterConfig,
        batch_size: int,
        judge: EntityJudge | None = None,
        find_stock_masks: FindStockMasks | None = None,
    ) -> None:
        self._scorer, self._filter, self._batch_size = scorer, filter, batch_size
        self._judge_entities, self._find_stock_masks = judge, find_stock_masks

    def evaluate(
        self,
        method: Method,
        knobs: Knobs,
        samples: Sequence[Sample],
        on_progress: OnProgress | None = None,
        on_images: OnImages | None = None,
    ) -> list[EvaluatedPair]:
        """Return every pair of every sample, in order.

        Args:
            method: makes the images.
            knobs: a value for each of its knobs.
            samples: what to make; denoised `batch_size` at a time.
            on_progress: see `OnProgress`.
            on_images: sees the images of each sample that has some, before they are dropped.
        """
        pairs: list[EvaluatedPair] = []
        for start in range(0, len(samples), self._batch_size):
            batch = samples[start : start + self._batch_size]
            outputs = method.generate(batch, knobs)
            for sample, output in zip(batch, outputs, strict=True):
                pairs += self._judge(method.name, sample, output, on_images)
            if on_progress is not None:
                on_progress(start + len(batch), len(samples))
        return pairs

    def _judge(
        self,
        name: str,
        sample: Sample,
        output: MethodOutput | Rejection,
        on_images: OnImages | None,
    ) -> list[EvaluatedPair]:
        if isinstance(output, Rejection):
            return [
                _build_pair(name, sample, pair, None, (RejectReason.GENERATION_FAILED,), None)
                for pair in sample.pairs
            ]
        generated = GeneratedSample(
            output.images, output.seconds, device_name="", crop_evidence=output.crop_evidence
        )
        masks, scores = self._scorer.score(sample, generated)
        if on_images is not None:
            on_images(sample, output.images, masks)
        pairs = [
            _build_pair(
                name, sample, (i, j), pair, self._find_guards(pair, (masks[i], masks[j])), output
            )
            for (i, j), pair in scores.items()
        ]
        rings = [
            describe_rings(image, found.mask)
            for image, found in zip(output.images, masks, strict=True)
        ]
        pairs = [replace(pair, rings=(rings[pair.image_i], rings[pair.image_j])) for pair in pairs]
        stock = self._find_stock_masks(sample) if self._find_stock_masks else None
        if stock is not None:
            found = [mask.mask for mask in masks]
            pairs = [_compare_with_stock(pair, found, stock, output.regions) for pair in pairs]
        if self._judge_entities is None:
            return pairs
        right = self._judge_entities.judge(output.images, sample.split.entity_prompts)
        return [
            replace(pair, right_fraction=_mean_of_known(right[pair.image_i], right[pair.image_j]))
            for pair in pairs
        ]

    def _find_guards(
        self, scores: PairScores, masks: tuple[EntityMask, EntityMask]
    ) -> tuple[str, ...]:
        guards = {each.reason for each in list_filters() if each.is_guard}
        fired = guards.intersection(reason for reason, _ in explain(scores, masks, self._filter))
        if not isfinite(scores.combined):  # no background left, and no bound on masks to say so
            fired.add(MASK_TOO_LARGE.reason)
        return tuple(order_reasons(fired))


def objective_of(scores: PairScores | None, guards: Sequence[str]) -> float:
    """Return what a pair counts in a search or a comparison."""
    if scores is None or guards:
        return FLOOR_OBJECTIVE
    return max(scores.combined, FLOOR_OBJECTIVE)


def objectives_by_group(pairs: Iterable[EvaluatedPair]) -> dict[str, list[float]]:
    """Return the objectives as `intervals` takes them."""
    grouped: defaultdict[str, list[float]] = defaultdict(list)
    for pair in pairs:
        grouped[pair.group_id].append(pair.objective)
    return dict(grouped)


def mean_objective(pairs: Iterable[EvaluatedPair]) -> float:
    """Return the mean of the groups' mean objectives: what a search maximises (eq. 12)."""
    means = [sum(values) / len(values) for values in objectives_by_group(pairs).values()]
    return sum(means) / len(means)


def _compare_with_stock(
    pair: EvaluatedPair,
    masks: Sequence[np.ndarray],
    stock: Sequence[np.ndarray] | np.ndarray,
    regions: Sequence[np.ndarray] | None,
) -> EvaluatedPair:
    overlaps, outside = [], []
    for i in (pair.image_i, pair.image_j):
        # Where the uncoupled image shows no entity, there is nothing to be kept whole.
        is_there = bool(stock[i].any())
        overlaps.append(_share(masks[i] & stock[i], masks[i] | stock[i]) if is_there else None)
        if regions is not None:
            cut_off = stock[i] & (regions[i] == 0)
            outside.append(_share(cut_off, stock[i]) if is_there else None)
    return replace(pair, stock_overlap=tuple(overlaps), stock_outside=tuple(outside))


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    return float(part.sum() / whole.sum())


def _mean_of_known(*right: bool | None) -> float | None:
    known = [float(one) for one in right if one is not None]
    return sum(known) / len(known) if len(known) == len(right) else None


def _build_pair(
    method: str,
    sample: Sample,
    pair: tuple[int, int],
    scores: PairScores | None,
    guards: tuple[str, ...],
    output: MethodOutput | None,
) -> EvaluatedPair:
    share = 1.0 / len(sample.pairs)
    return EvaluatedPair(
        method=method,
        group_id=sample.group.group_id,
        seed=sample.seed,
        image_i=pair[0],
        image_j=pair[1],
        scores=scores,
        guards=guards,
        objective=objective_of(scores, guards),
        seconds=output.seconds * share if output else 0.0,
        model_evaluations=output.model_evaluations * share if output else 0.0,
    )
