"""The content filter: which unwanted concepts an image shows, told from its CLIP embedding.

An image that is not square is looked at as a whole and square by square along its longer side: on
the miniature's renderings at 16:9 and 3:1 the squares show 98 % of what is forbidden, wherever it
stands, the whole alone 63 % to 75 %.
Groups whose prompts are unwanted never come here: the splitter flags them before any image is made.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from coupled_core.concepts import ConceptList
from coupled_core.config import ContentFilterConfig, fingerprint

if TYPE_CHECKING:  # the class alone would import torch
    from coupled_core.scoring.clip import ClipScorer

_METHOD = "clip-zero-shot-2"
"""The number goes up when the rule below changes; 1 looked at the central square alone."""


class ContentFilter:
    """Compares images with captions of unwanted concepts and with neutral ones."""

    def __init__(self, concept_list: ConceptList, clip: "ClipScorer") -> None:
        self._clip, self._margin = clip, concept_list.margin
        self._neutral = clip.embed_texts(concept_list.neutral)
        self._concepts = {
            name: clip.embed_texts(captions) for name, captions in concept_list.concepts.items()
        }

    def find_in_image(
        self, image: NDArray[np.uint8], embedding: NDArray[np.float32]
    ) -> tuple[str, ...]:
        """Return the concepts that an image shows anywhere.

        Args:
            image: RGB, (H, W, 3).
            embedding: Of the whole image, (D,).
        """
        squares = cut_squares(image)
        # The whole image and its S squares: (1 + S, D).
        seen = [embedding[None], *([self._clip.embed_images(squares)] if squares else [])]
        found = {name for names in self.find_concepts(np.concatenate(seen)) for name in names}
        return tuple(name for name in self._concepts if name in found)

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
        # Cosines of CLIP have no absolute scale: only "more like this than like that" means
        # something.
        neutral = _best_cosine(image_embeddings, self._neutral)
        return {
            name: _best_cosine(image_embeddings, captions) - neutral
            for name, captions in self._concepts.items()
        }


def cut_squares(image: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """Return squares, each half over the next, that show all of an image; none of a square one."""
    long_axis = int(image.shape[1] > image.shape[0])
    side, length = min(image.shape[:2]), max(image.shape[:2])
    if side == length:
        return []
    # 1 + ceil(2 (length - side) / side) of them: neighbours are at most half a side apart.
    starts = np.linspace(0, length - side, 1 - 2 * (side - length) // side).round().astype(int)
    return [
        np.ascontiguousarray(image.take(range(start, start + side), axis=long_axis))
        for start in starts
    ]


def load_content_filter(config: ContentFilterConfig, clip: "ClipScorer") -> ContentFilter | None:
    """Return the filter of the settings; None: images are not looked at."""
    return None if config.concepts is None else ContentFilter(config.concepts, clip)


def content_filter_version(config: ContentFilterConfig) -> str | None:
    """Return what names method and list in every manifest row; None: no filter runs."""
    listed = config.concepts
    return None if listed is None else f"{_METHOD}:{listed.name}:{fingerprint(listed)[:12]}"


def _best_cosine(images: NDArray[np.float32], captions: NDArray[np.float32]) -> NDArray[np.float32]:
    # Unit embeddings, so the product is the cosine: (B, captions) to (B,).
    best: NDArray[np.float32] = (images @ captions.T).max(axis=1)
    return best
