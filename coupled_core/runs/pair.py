"""One group of prompts from words to scored images, without a dataset: `coupled_core.make_pair`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from coupled_core.config import RunConfig
from coupled_core.errors import ConfigError, CoupledError
from coupled_core.filtering.decide import decide
from coupled_core.generation.provenance import choose_device
from coupled_core.records import (
    Decision,
    EntityMask,
    GeneratedSample,
    GroupSplit,
    PairScores,
    PromptGroup,
    Rejection,
    Sample,
)
from coupled_core.runs.identity import sample_seed
from coupled_core.runs.keywords import config_from_keywords
from coupled_core.runs.models import generator_for, scorer_for
from coupled_core.splitting.splitter import build_splitter

if TYPE_CHECKING:
    from diffusers import FluxPipeline

    from coupled_core.generation.sampler import OnStep
    from coupled_core.scoring.pair_scorer import PairScorer

_GROUP_ID = "command-line"
"""Seeds are derived from it: with another name, the same settings would give other images."""


@dataclass(frozen=True)
class MadePair:
    """Two images of one background, and how they came about."""

    images: tuple[Image.Image, Image.Image]
    """RGB, in the order of the prompts."""
    split: GroupSplit
    """The background and the two entities, in words."""
    seed: int
    """What the noise was drawn from; the settings' seed leads to it."""
    masks: tuple[EntityMask, EntityMask] | None = None
    """None: not scored, like the two fields that follow."""
    scores: PairScores | None = None
    decision: Decision | None = None
    """Whether the pair would be kept, and why not."""


def make_pair(
    prompt_0: str,
    prompt_1: str,
    *,
    background: str | None = None,
    entities: tuple[str, str] | None = None,
    pipeline: "FluxPipeline | None" = None,
    score: bool = False,
    **settings: Any,
) -> MadePair:
    """Make two images that share a background and differ in what stands in it.

    With equal settings it gives the pixels of `coupled generate`. Models stay loaded for the next
    call with the same settings.

    Args:
        prompt_0: The full prompt of the first image.
        prompt_1: The full prompt of the second.
        background: What both prompts describe, given together with `entities`. None: it is found.
        entities: What each image shows alone.
        pipeline: A FLUX pipeline that you have loaded; it is left as it is. None: the settings'
            base model is loaded, by default the small one that comes with the package.
        score: Find the entities and score the pair, too. The default scorers know the small model's
            world only: name others with `sam_model` and `clip_model`.
        settings: Any setting of a run by its bare name, such as `seed` or `base_model`.

    Raises:
        ConfigError: a setting is wrong, or the prompts share no background that could be found.
        CoupledError: a model cannot be loaded, or its images are not finite.
    """
    config = config_from_keywords(settings)
    sample = split_prompts((prompt_0, prompt_1), config, background, entities)
    generated = generate_sample(sample, config, pipeline)
    first, second = map(Image.fromarray, generated.images)
    if not score:
        return MadePair((first, second), sample.split, sample.seed)
    # Scorers go where the caller's pipeline computes; with offloading, weights may lie elsewhere.
    device = pipeline._execution_device if pipeline else config.generation.device
    masks, scores = _scorer(config, str(device)).score(sample, generated)
    pair = masks[0], masks[1]
    decision = decide(scores[0, 1], pair, config.filter)
    return MadePair((first, second), sample.split, sample.seed, pair, scores[0, 1], decision)


def score_images(
    image_0: Image.Image | np.ndarray,
    image_1: Image.Image | np.ndarray,
    *,
    prompts: tuple[str, str],
    entities: tuple[str, str],
    background: str,
    **settings: Any,
) -> tuple[tuple[EntityMask, EntityMask], PairScores]:
    """Return where the entities of two images are, and every metric of the pair.

    Args:
        image_0: Pillow's, or uint8 (H, W, 3) RGB.
        image_1: Of the same size.
        prompts: The full prompts of the images.
        entities: What only image 0 and only image 1 show, in words.
        background: What both show, in words.
        settings: Any setting of a run by its bare name, such as `clip_model`.

    Raises:
        ConfigError: a setting is wrong, or the images are not of one size.
        ModelUnavailableError: a scorer cannot be loaded.
    """
    config = config_from_keywords(settings)
    images = _pixels(image_0, 0), _pixels(image_1, 1)
    if images[0].shape != images[1].shape:
        sizes = " and ".join(f"{image.shape[1]} x {image.shape[0]}" for image in images)
        raise ConfigError(f"expected two images of one size, got {sizes} pixels")
    sample = Sample(PromptGroup(_GROUP_ID, prompts), 0, GroupSplit(background, entities))
    # Scorers look at images, prompts and entities alone: seed, seconds and device have no meaning
    # here.
    scorer = _scorer(config, config.generation.device)
    masks, scores = scorer.score(sample, GeneratedSample(images, 0.0, ""))
    return (masks[0], masks[1]), scores[0, 1]


def split_prompts(
    prompts: Sequence[str],
    config: RunConfig,
    background: str | None = None,
    entities: Sequence[str] | None = None,
) -> Sample:
    """Return a group of prompts with its seed and its split, ready to be generated.

    Raises:
        ConfigError: there is one prompt alone, or no shared background was found or given.
    """
    if len(prompts) < 2:
        raise ConfigError(
            f"got {len(prompts)} prompt, expected two or more that share a background"
        )
    if (background is None) != (entities is None):
        raise ConfigError("background and entities go together: give both, or neither")
    if entities is not None and len(entities) != len(prompts):
        raise ConfigError(f"got {len(entities)} entities, expected {len(prompts)}, one a prompt")
    group = PromptGroup(
        _GROUP_ID,
        tuple(prompts),
        background_prompt=background,
        entity_prompts=None if entities is None else tuple(entities),
    )
    split = build_splitter(config.split).split([group])[0]
    if isinstance(split, Rejection):
        raise ConfigError(split.message)
    return Sample(group, sample_seed(config.generation.seed, group.group_id, None, 0), split)


def draw_again(sample: Sample, config: RunConfig, number: int) -> Sample:
    """Return a sample of the same prompts with another seed; number 0 is the sample itself."""
    seed = sample_seed(config.generation.seed, sample.group.group_id, None, number)
    return replace(sample, seed=seed)


def generate_sample(
    sample: Sample,
    config: RunConfig,
    pipeline: "FluxPipeline | None" = None,
    on_step: "OnStep | None" = None,
) -> GeneratedSample:
    """Return the images of a sample.

    Raises:
        CoupledError: the model cannot be loaded, or its images are not finite.
    """
    if pipeline is None:
        generator = generator_for(config.generation)
    else:
        from coupled_core.generation.generator import load_generator

        generator = load_generator(config.generation, pipeline)
    generated = generator.generate([sample], on_step)[0]
    if isinstance(generated, Rejection):
        raise CoupledError(generated.message)
    return generated


def _scorer(config: RunConfig, device: str) -> "PairScorer":
    return scorer_for(config.scoring, choose_device(device))


def _pixels(image: Image.Image | np.ndarray, number: int) -> np.ndarray:
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ConfigError(
            f"image {number}: expected uint8 of shape (H, W, 3), got {image.dtype} of {image.shape}"
        )
    return image
