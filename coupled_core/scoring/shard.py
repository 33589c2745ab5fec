"""The score stage of a shard: reads generated batches, stores masks and metrics beside them."""

from collections.abc import Callable, Mapping
from typing import Protocol

from coupled_core.checkpoints.folder import (
    ShardFolder,
    missing_batch,
    same_keys,
    split_into_batches,
)
from coupled_core.checkpoints.generated import STAGE as GENERATED
from coupled_core.checkpoints.generated import EncodedSample, parse_generated
from coupled_core.checkpoints.scored import STAGE, ScoredSample, write_scored
from coupled_core.progress import Progress
from coupled_core.records import EntityMask, GeneratedSample, PairScores, Sample


class ScoresPairs(Protocol):
    """What is asked of a scorer; `scoring.pair_scorer.PairScorer` is one."""

    def score(
        self, sample: Sample, generated: GeneratedSample
    ) -> tuple[list[EntityMask], dict[tuple[int, int], PairScores]]:
        """Return one mask an image and the scores of every pair."""


def score_shard(
    samples: Mapping[str, Sample],
    load_scorer: Callable[[], ScoresPairs],
    folder: ShardFolder,
    *,
    batch_size: int,
    progress: Progress,
) -> int:
    """Score what is not stored yet and return how many batches that took.

    Args:
        samples: By key, as in the generate stage.
        load_scorer: Called only when there is something to score.
        folder: Work of this shard, its generated batches complete.
        batch_size: As in the generate stage.
        progress: Told the pairs of each batch under "score".

    Raises:
        StorageError: a generated batch is missing.
    """
    num_scored = 0
    for index, batch in enumerate(split_into_batches(samples, batch_size)):
        table = folder.read_table(GENERATED, index)
        if table is None or not same_keys(table, list(batch)):
            raise missing_batch(folder, GENERATED, index)
        usable = {k: s for k, s in parse_generated(table).items() if isinstance(s, EncodedSample)}
        if not same_keys(folder.read_table(STAGE, index), list(usable)):
            scorer = load_scorer() if usable else None
            scored = {k: _score(scorer, batch[k], s) for k, s in usable.items() if scorer}
            write_scored(folder, index, scored)
            num_scored += 1
        progress.advance("score", sum(len(sample.pairs) for sample in batch.values()))
    return num_scored


def _score(scorer: ScoresPairs, sample: Sample, encoded: EncodedSample) -> ScoredSample:
    masks, scores = scorer.score(sample, encoded.decode())
    return ScoredSample(tuple(masks), scores)
