"""The score stage of a shard: reads generated batches, stores masks and metrics beside them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from coupled_core.progress import Progress
from coupled_core.records import (
    EntityMask,
    GeneratedSample,
    ImageDescriptor,
    PairScores,
    Sample,
)
from coupled_core.runs.checkpoints.folder import (
    ShardFolder,
    batches_of_attempt,
    missing_batch,
    same_keys,
)
from coupled_core.runs.checkpoints.generated import STAGE as GENERATED
from coupled_core.runs.checkpoints.generated import EncodedSample, parse_generated
from coupled_core.runs.checkpoints.scored import STAGE, ScoredSample, write_scored
from coupled_core.scoring.clip import encode_embeddings
from coupled_core.scoring.content_filter import ContentFilter


class ScoresPairs(Protocol):
    """What is asked of a scorer; `scoring.pair_scorer.PairScorer` is one."""

    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Return unit CLIP embeddings, float32 (B, D)."""

    def score(
        self, sample: Sample, generated: GeneratedSample, image_embeddings: np.ndarray
    ) -> tuple[list[EntityMask], dict[tuple[int, int], PairScores]]:
        """Return one mask an image and the scores of every pair."""


def score_shard(
    samples: Mapping[str, Sample],
    load_scorer: Callable[[], ScoresPairs],
    folder: ShardFolder,
    *,
    batch_size: int,
    progress: Progress,
    attempt: int = 1,
    load_content_filter: Callable[[], ContentFilter | None] = lambda: None,
) -> int:
    """Score what is not stored yet and return how many batches that took.

    Args:
        samples: By key, as in the generate stage.
        load_scorer: Called only when there is something to score.
        folder: Work of this shard, its generated batches complete.
        batch_size: As in the generate stage.
        progress: Told the pairs of each batch under "score".
        attempt: Whose samples are scored.
        load_content_filter: Called together with `load_scorer`; None: images are not looked at.

    Raises:
        StorageError: a generated batch is missing.
    """
    num_scored = 0
    for index, batch in batches_of_attempt(samples, batch_size, attempt):
        table = folder.read_table(GENERATED, index)
        if table is None or not same_keys(table, list(batch)):
            raise missing_batch(folder, GENERATED, index)
        usable = {k: s for k, s in parse_generated(table).items() if isinstance(s, EncodedSample)}
        if not same_keys(folder.read_table(STAGE, index), list(usable)):
            scorer = load_scorer() if usable else None
            concepts = load_content_filter() if usable else None
            scored = {k: _score(scorer, concepts, batch[k], s) for k, s in usable.items() if scorer}
            write_scored(folder, index, scored)
            num_scored += 1
        progress.advance("score", sum(len(sample.pairs) for sample in batch.values()))
    return num_scored


def _score(
    scorer: ScoresPairs,
    content_filter: ContentFilter | None,
    sample: Sample,
    encoded: EncodedSample,
) -> ScoredSample:
    generated = encoded.decode()
    embeddings = scorer.embed_images(generated.images)
    masks, scores = scorer.score(sample, generated, embeddings)
    codes = encode_embeddings(embeddings)
    concepts = content_filter.find_concepts(embeddings) if content_filter else [()] * len(codes)
    descriptors = tuple(map(ImageDescriptor, codes, concepts))
    return ScoredSample(tuple(masks), scores, descriptors)
