"""The content filter: which unwanted concepts an image shows, told from its CLIP embedding.

Groups whose prompts are unwanted never come here: the splitter flags them before any image is made.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from coupled_core.concepts import ConceptList
from coupled_core.config import ContentFilterConfig, fingerprint

if TYPE_CHECKING:  # the class alone would import torch
    from coupled_core.scoring.clip import ClipScorer

_METHOD = "clip-zero-shot-1"
"""The number goes up when the rule below changes."""


class ContentFilter:
    """Compares images with captions of unwanted concepts and with neutral ones."""

    def __init__(self, concept_list: ConceptList, clip: "ClipScorer") -> None:
        self._margin = concept_list.margin
        self._neutral = clip.embed_texts(concept_list.neutral)
        self._concepts = {
            name: clip.embed_texts(captions) for name, captions in concept_list.concepts.items()
        }

    def find_concepts(self, image_embeddings: NDArray[np.float32]) -> list[tuple[str, ...]]:
        """Return the concepts of which a caption fits an image better than every neutral one."""
        found = self.concept_margins(image_embeddings)
        return [
            tuple(name for name, margins in found.items() if margins[index] > self._margin)
            for index in range(len(image_embeddings))
        ]

    def concept_margins(
        self, image_embeddings: NDArray[np.float32]
    ) -> dict[str, NDArray[np.float32]]:
        """Return by how much each concept's best cosine exceeds the best neutral one, per image."""
        neutral = _best_cosine(image_embeddings, self._neutral)
        return {
            name: _best_cosine(image_embeddings, captions) - neutral
            for name, captions in self._concepts.items()
        }


def load_content_filter(config: ContentFilterConfig, clip: "ClipScorer") -> ContentFilter | None:
    """Return the filter of the settings; None: images are not looked at."""
    return None if config.concept_list is None else ContentFilter(config.concept_list, clip)


def content_filter_version(config: ContentFilterConfig) -> str | None:
    """Return what names method and list in every manifest row; None: no filter runs."""
    listed = config.concept_list
    return None if listed is None else f"{_METHOD}:{listed.name}:{fingerprint(listed)[:12]}"


def _best_cosine(images: NDArray[np.float32], captions: NDArray[np.float32]) -> NDArray[np.float32]:
    best: NDArray[np.float32] = (images @ captions.T).max(axis=1)
    return best
