"""Scores the images of one sample: entity masks, then every metric of every pair."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from coupled_core.config import ScoringConfig
from coupled_core.errors import ConfigError
from coupled_core.models.memory import is_out_of_memory
from coupled_core.records import EntityMask, GeneratedSample, PairScores, Sample
from coupled_core.scoring.clip import ClipScorer, load_clip
from coupled_core.scoring.entity_masks import EntityFinder
from coupled_core.scoring.metrics import score_pair
from coupled_core.scoring.model_files import require_dtype
from coupled_core.scoring.sam import load_sam


class PairScorer:
    """Segment Anything and CLIP, loaded once, scoring sample after sample."""

    def __init__(
        self, finder: EntityFinder, clip: ClipScorer, *, sam_model: str, clip_model: str
    ) -> None:
        self.finder, self.clip = finder, clip
        self.sam_model, self.clip_model = sam_model, clip_model

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Return the unit CLIP embeddings, float32 (B, D), of uint8 RGB images (H, W, 3)."""
        return self.clip.embed_images(images)

    def score(
        self,
        sample: Sample,
        generated: GeneratedSample,
        image_embeddings: np.ndarray | None = None,
    ) -> tuple[list[EntityMask], dict[tuple[int, int], PairScores]]:
        """Return one mask an image and the scores by pair of image indices.

        Args:
            sample: What was asked for.
            generated: What was made.
            image_embeddings: As `embed_images` returns them, where they are known already.

        Raises:
            ConfigError: an image of this size does not fit into memory.
        """
        try:
            return self._score(sample, generated, image_embeddings)
        except Exception as error:
            if is_out_of_memory(error):
                raise _too_large(error, generated.images[0].shape) from error
            raise

    def _score(
        self, sample: Sample, generated: GeneratedSample, image_embeddings: np.ndarray | None
    ) -> tuple[list[EntityMask], dict[tuple[int, int], PairScores]]:
        split, images = sample.split, generated.images
        masks = [
            self.finder.find(image, entity, split.background_prompt)
            for image, entity in zip(images, split.entity_prompts, strict=True)
        ]
        if image_embeddings is None:
            image_embeddings = self.embed_images(images)
        # The full prompts, not the entities: alignment asks whether the image shows what was asked
        # for.
        text_embeddings = self.clip.embed_texts(sample.group.prompts)
        scores = {
            (i, j): score_pair(
                (images[i], images[j]),
                (masks[i].mask, masks[j].mask),
                (image_embeddings[i], image_embeddings[j]),
                (text_embeddings[i], text_embeddings[j]),
            )
            for i, j in sample.pairs
        }
        crops = generated.crop_evidence
        if crops is not None:
            scores = {
                (i, j): replace(pair, crop_evidence_0=crops[i], crop_evidence_1=crops[j])
                for (i, j), pair in scores.items()
            }
        return masks, scores


def _too_large(error: Exception, shape: tuple[int, ...]) -> ConfigError:
    """Return what to do where one image is too much: every other one would be, too."""
    first = str(error).partition("\n")[0]
    return ConfigError(
        f"Segment Anything or CLIP lacks memory for an image of {shape[1]} x {shape[0]} pixels "
        f"({first}): keep idle parts of the base model off the accelerator (--offload model), or "
        "choose a smaller --width and --height, or smaller --sam-model or --clip-model"
    )


def load_scorer(config: ScoringConfig, device: str) -> PairScorer:
    """Load both models.

    Raises:
        ConfigError: the device does not compute in the number format of the settings.
        ModelUnavailableError: one of them cannot be loaded.
    """
    require_dtype(config, device)
    clip = load_clip(config.clip_model, device, config.dtype)
    finder = EntityFinder(load_sam(config.sam_model, device, config.dtype), clip)
    return PairScorer(finder, clip, sam_model=config.sam_model, clip_model=config.clip_model)
