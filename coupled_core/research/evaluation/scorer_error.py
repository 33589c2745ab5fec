"""How far the scorers themselves are off, on drawn scenes of which everything is known.

Segment Anything's masks are held against the renderer's, CLIP's ranking of captions against the
labels. The last figures say what that does to the metrics: S and J of the same pairs with masks
that were found, against S and J with the true ones.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from coupled_core.config import ScoringConfig
from coupled_core.research.drawn_world.captions import write_caption
from coupled_core.research.drawn_world.render import draw_scene
from coupled_core.research.drawn_world.scenes import (
    BACKGROUNDS,
    COLOURS,
    ENTITIES,
    LIGHTS,
    NUM_LAYOUT,
    CaptionKind,
    Scene,
    sample_scene,
)
from coupled_core.research.evaluation.intervals import (
    Interval,
    bootstrap_values,
    wilson_interval,
)
from coupled_core.scoring.clip import ClipScorer
from coupled_core.scoring.entity_masks import EntityFinder
from coupled_core.scoring.metrics import (
    SIMILARITY_WEIGHT,
    background_similarity,
    joint_entity_region,
)
from coupled_core.scoring.pair_scorer import load_scorer

SCENES_SEED = 930_000
"""Added to the seed that is asked for; no training, check or prompt set draws from there."""
_CHOICES = {"background": BACKGROUNDS, "light": LIGHTS, "entity": ENTITIES, "colour": COLOURS}
_MAX_MASKS = 150
"""Scenes whose masks are found: 64 points each, slow without an accelerator."""
_DRIFTS = (0.0, 0.1, 0.3, 1.0)
"""How far the layout of the second image moves, in standard deviations of the world's layouts."""


@dataclass(frozen=True)
class Figure:
    """One measured figure."""

    name: str
    value: float
    low: float
    """95 % interval: Wilson for shares, bootstrap for means."""
    high: float
    count: int
    goal: float | None = None
    """Least value we hold the miniature to; None where there is none."""

    @classmethod
    def of(cls, name: str, interval: Interval, goal: float | None = None) -> "Figure":
        """Name an interval."""
        return cls(name, interval.mean, interval.low, interval.high, interval.count, goal)


@dataclass(frozen=True)
class DrawnPair:
    """Two scenes that share a place and differ in the entity; masks are the renderer's."""

    scenes: tuple[Scene, Scene]
    images: tuple[np.ndarray, np.ndarray]
    masks: tuple[np.ndarray, np.ndarray]


def measure_scorers(
    config: ScoringConfig, num_renders: int, seed: int, device: str
) -> list[Figure]:
    """Return every figure, with its 95 % interval.

    Args:
        config: which scorers; any that a build takes.
        num_renders: scenes to draw.
        seed: of the scenes.
        device: where the scorers compute.

    Raises:
        ConfigError, ModelUnavailableError: a scorer cannot be loaded.
    """
    scorer = load_scorer(config, device)
    clip, finder = scorer.clip, scorer.finder
    rng = np.random.default_rng((SCENES_SEED, seed))
    scenes = [sample_scene(rng, dependence=0.0) for _ in range(num_renders)]
    few = scenes[:_MAX_MASKS]
    return [
        *_without_goals(check_clip(clip, scenes, rng)),
        *check_ranking(clip, scenes, rng),
        *_without_goals(check_masks(finder, few, rng)),
        *check_empty_scenes(finder, few, rng),
        *check_metric(finder, few, rng),
    ]


def check_clip(clip: ClipScorer, scenes: Sequence[Scene], rng: np.random.Generator) -> list[Figure]:
    """Return how often an image finds its own full caption among 16."""
    images = clip.embed_images([draw_scene(scene)[0] for scene in scenes])
    texts = clip.embed_texts([write_caption(rng, scene, "full") for scene in scenes])
    groups = range(0, len(scenes) - 15, 16)
    hits = [
        (images[g : g + 16] @ texts[g : g + 16].T).argmax(axis=1) == np.arange(16) for g in groups
    ]
    return [share("CLIP finds the full caption among 16", np.concatenate(hits).tolist(), 0.90)]


def check_masks(
    finder: EntityFinder, scenes: Sequence[Scene], rng: np.random.Generator
) -> list[Figure]:
    """Return the IoU with the renderer's masks, from one point and from the prompts alone."""
    prompted, found = [], []
    for scene in scenes:
        image, truth, _ = draw_scene(scene)
        y, x = np.argwhere(truth)[rng.integers(truth.sum())]
        prompted.append(iou(finder.segment_at(image, (x + 0.5, y + 0.5)), truth))
        texts = (write_caption(rng, scene, "entity"), write_caption(rng, scene, "background"))
        found.append(iou(finder.find(image, *texts).mask, truth))
    return [
        mean("Segment Anything, IoU of a mask from one point", prompted, 0.90),
        mean("entity found from the prompts, IoU", found),
        share("entity found from the prompts, IoU above 0.5", [value > 0.5 for value in found]),
    ]


def check_ranking(
    clip: ClipScorer, scenes: Sequence[Scene], rng: np.random.Generator
) -> list[Figure]:
    """Return how often a caption beats the same one with one label changed, and image with none."""
    figures = []
    images = clip.embed_images([draw_scene(scene)[0] for scene in scenes])
    for name, choices in _CHOICES.items():
        right, wrong = [], []
        for scene in scenes:
            others = [choice for choice in choices if choice != getattr(scene, name)]
            change: dict[str, Any] = {name: str(rng.choice(others))}
            changed = replace(scene, **change)
            seed = int(rng.integers(2**31))
            right.append(_caption(seed, scene, "full"))
            wrong.append(_caption(seed, changed, "full"))
        margin = _cosines(images, clip.embed_texts(right)) - _cosines(
            images, clip.embed_texts(wrong)
        )
        figures.append(share(f"CLIP tells the right {name} from another", (margin > 0).tolist()))
    empty = clip.embed_images([draw_scene(_empty(scene))[0] for scene in scenes])
    texts = clip.embed_texts([write_caption(rng, scene, "full") for scene in scenes])
    margin = _cosines(images, texts) - _cosines(empty, texts)
    return [*figures, share("CLIP prefers the image with the entity", (margin > 0).tolist())]


def check_empty_scenes(
    finder: EntityFinder, scenes: Sequence[Scene], rng: np.random.Generator
) -> list[Figure]:
    """Return how often an entity is found in the same place without one."""
    found = []
    for scene in scenes:
        texts = (write_caption(rng, scene, "entity"), write_caption(rng, scene, "background"))
        image = draw_scene(_empty(scene))[0]
        found.append(bool(finder.find(image, *texts).mask.any()))
    return [share("entity found where there is none", found)]


def check_metric(
    finder: EntityFinder, scenes: Sequence[Scene], rng: np.random.Generator
) -> list[Figure]:
    """Return what wrong masks do to S and J, from equal backgrounds to unlike ones."""
    figures: list[Figure] = []
    pairs = list(zip(scenes[::2], scenes[1::2], strict=False))
    for drift in _DRIFTS:
        errors = []
        for first, second in pairs:
            pair = draw_pair(first, second, drift, rng)
            masks = [
                finder.find(image, _caption(0, scene, "entity"), _caption(0, scene, "background"))
                for image, scene in zip(pair.images, pair.scenes, strict=True)
            ]
            measured = joint_entity_region([mask.mask for mask in masks])
            if measured.any() and not measured.all():
                errors.append(
                    background_similarity(pair.images, measured)
                    - background_similarity(pair.images, joint_entity_region(pair.masks))
                )
        if errors:
            figures += _describe_errors(drift, errors)
    return figures


def draw_pair(first: Scene, second: Scene, drift: float, rng: np.random.Generator) -> DrawnPair:
    """Draw two scenes of one place.

    Args:
        first: gives the place.
        second: gives the other entity.
        drift: standard deviation by which the second layout moves; 0: the backgrounds are equal.
        rng: draws the move.
    """
    layout = np.asarray(first.layout) + drift * rng.standard_normal(NUM_LAYOUT)
    other = replace(
        second,
        background=first.background,
        light=first.light,
        layout=tuple(layout.tolist()),
        texture_seed=first.texture_seed,
    )
    (image_0, mask_0, _), (image_1, mask_1, _) = draw_scene(first), draw_scene(other)
    return DrawnPair((first, other), (image_0, image_1), (mask_0, mask_1))


def share(name: str, hits: Sequence[bool], goal: float | None = None) -> Figure:
    """Return a share with its Wilson interval."""
    return Figure.of(name, wilson_interval(sum(map(bool, hits)), len(hits)), goal)


def mean(name: str, values: Sequence[float], goal: float | None = None) -> Figure:
    """Return a mean with its bootstrap interval."""
    return Figure.of(name, bootstrap_values(values), goal)


def iou(mask: np.ndarray, truth: np.ndarray) -> float:
    """Return intersection over union of two masks; 1 where both are empty."""
    union = int((mask | truth).sum())
    return float((mask & truth).sum()) / union if union else 1.0


def _describe_errors(drift: float, errors: Sequence[float]) -> Iterator[Figure]:
    where = "equal backgrounds" if drift == 0 else f"layouts {drift:g} sd apart"
    yield mean(f"error of S, {where}", errors)
    yield mean(f"size of the error of J, {where}", [SIMILARITY_WEIGHT * abs(e) for e in errors])


def _empty(scene: Scene) -> Scene:
    return replace(scene, entity=None, colour=None)


def _caption(seed: int, scene: Scene, kind: CaptionKind) -> str:
    return write_caption(np.random.default_rng(seed), scene, kind)


def _cosines(images: np.ndarray, texts: np.ndarray) -> np.ndarray:
    return np.asarray((images * texts).sum(axis=1))


def _without_goals(figures: Sequence[Figure]) -> list[Figure]:
    """Drop the goals: they are those of the miniature's own scorers."""
    return [replace(figure, goal=None) for figure in figures]
