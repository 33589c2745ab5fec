"""What the scorer adds to the metrics of a pair."""

from typing import Any

import numpy as np

from coupled_core.records import EntityMask, GeneratedSample
from coupled_core.scoring.pair_scorer import PairScorer
from tests.unit.runs.shard_samples import make_group, make_split, open_work


class _Corner:
    """Finds every entity in the upper left corner."""

    def find(self, image: np.ndarray, entity: str, background: str) -> EntityMask:
        mask = np.zeros(image.shape[:2], bool)
        mask[:8, :8] = True
        return EntityMask(mask, 0.9, touches_border=True)


class _Alike:
    """Embeds everything alike."""

    def embed_texts(self, texts: Any) -> np.ndarray:
        return np.full((len(texts), 4), 0.5, np.float32)

    embed_images = embed_texts


def test_each_pair_of_a_group_has_the_crop_evidence_of_its_own_two_images(tmp_path: Any) -> None:
    group = make_group(0, num_prompts=3)
    work = open_work(tmp_path, [group])
    work.keep_outcomes((make_split(group),))
    (sample,) = work.attempt(1).samples.values()
    images = tuple(np.full((32, 32, 3), level, np.uint8) for level in (50, 100, 150))
    finder: Any = _Corner()
    clip: Any = _Alike()
    scorer = PairScorer(finder, clip, sam_model="corner", clip_model="alike")
    for crops in ((0.1, 0.2, 0.3), None):
        _, scores = scorer.score(sample, GeneratedSample(images, 0.5, "toy", crop_evidence=crops))
        found = {
            pair: (each.crop_evidence_0, each.crop_evidence_1) for pair, each in scores.items()
        }
        expected = {(i, j): (crops[i], crops[j]) if crops else (None, None) for i, j in found}
        assert found == expected
        assert len(found) == 3
