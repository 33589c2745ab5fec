"""Says whether images show the entities of their prompts: a judge apart from the scorers.

In the miniature's world that is its scene classifier, which neither generates nor scores. For other
models there is none yet; a vision-language model would stand behind the same protocol.
"""

from collections.abc import Sequence

import numpy as np

from coupled_core.miniature import miniature_folder
from coupled_core.research.drawn_world.scenes import COLOURS, ENTITIES
from coupled_core.research.evaluation.pairs import EntityJudge
from coupled_core.research.training.classifier import SceneClassifier, load_classifier

_SIDE_PX = 64


class MiniatureJudge:
    """The scene classifier: right is an image with the entity and the colour of its prompt."""

    def __init__(self, classifier: SceneClassifier) -> None:
        self._classifier = classifier

    def judge(
        self, images: Sequence[np.ndarray], entity_prompts: Sequence[str]
    ) -> tuple[bool | None, ...]:
        """Judge those images that are of its size and whose prompts name what it knows."""
        return tuple(map(self._judge_one, images, entity_prompts))

    def _judge_one(self, image: np.ndarray, prompt: str) -> bool | None:
        wanted = _find_word(prompt, ENTITIES), _find_word(prompt, COLOURS)
        if None in wanted or image.shape[:2] != (_SIDE_PX, _SIDE_PX):
            return None
        (seen,) = self._classifier.read(image[None])
        return (seen.entity, seen.colour) == wanted


def load_entity_judge(base_model: str) -> EntityJudge | None:
    """Return the judge of a base model's world; None: there is none."""
    if base_model != "miniature":
        return None
    return MiniatureJudge(load_classifier(miniature_folder("classifier")))


def _find_word(prompt: str, known: Sequence[str]) -> str | None:
    words = prompt.lower().replace(".", " ").replace(",", " ").split()
    return next((word for word in known if word in words), None)
