"""The write stage of a shard: from stored batches to published parts, one batch in memory at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from coupled_core.checkpoints.decisions import Decisions, read_decisions
from coupled_core.checkpoints.folder import ShardFolder, missing_batch, split_into_batches
from coupled_core.checkpoints.generated import STAGE as GENERATED
from coupled_core.checkpoints.generated import EncodedSample, Generated, parse_generated
from coupled_core.checkpoints.scored import STAGE as SCORED
from coupled_core.checkpoints.scored import ScoredSample, parse_scored
from coupled_core.dataset.images import encode_mask
from coupled_core.dataset.parts import PublishedShard, publish_shard
from coupled_core.dataset.rows import (
    EncodedPair,
    GenerationFacts,
    PlannedPair,
    Row,
    RunFacts,
    complete_row,
    decision_columns,
    failed_row,
    generation_columns,
    image_columns,
    image_row,
    plan_columns,
    quarantined_row,
    score_columns,
    split_columns,
)
from coupled_core.records import QuarantinedRow, Rejection, Sample
from coupled_core.storage.store import ObjectStore


@dataclass(frozen=True)
class ShardContent:
    """All of a shard that becomes rows."""

    shard_index: int
    samples: Mapping[str, Sample]
    """By key, as in the generate stage."""
    pairs: Mapping[str, Sequence[PlannedPair]]
    """By key of the sample."""
    failed: Sequence[tuple[PlannedPair, Rejection]] = field(default=())
    """Pairs of groups that have no split."""
    quarantined: Sequence[QuarantinedRow] = field(default=())


def write_shard(
    content: ShardContent,
    folder: ShardFolder,
    store: ObjectStore,
    run: RunFacts,
    generation: GenerationFacts,
    *,
    batch_size: int,
) -> PublishedShard:
    """Write and upload the parts of a shard whose batches are generated, scored and decided.

    Raises:
        StorageError: a batch or the decisions are missing, or an upload failed.
    """
    decisions = read_decisions(folder)
    if decisions is None:
        raise missing_batch(folder, "decisions", 0)
    reader = _Reader(content, folder, decisions, batch_size)
    refused = [failed_row(pair, run, why) for pair, why in content.failed]
    refused += [quarantined_row(bad, content.shard_index, run) for bad in content.quarantined]
    rows = [row for batch in reader for row in _batch_rows(batch, run, generation)]
    return publish_shard(
        store,
        [*rows, *refused],
        (row for batch in reader for row in _batch_images(batch)),
        run_id=run.run_id,
        shard_index=content.shard_index,
    )


@dataclass(frozen=True)
class _Batch:
    """Everything stored about the samples of one batch, by key."""

    content: ShardContent
    generated: Mapping[str, Generated]
    scored: Mapping[str, ScoredSample]
    decisions: Decisions


@dataclass(frozen=True)
class _Reader:
    """The stored batches of a shard, in order, as often as they are asked for."""

    content: ShardContent
    folder: ShardFolder
    decisions: Decisions
    batch_size: int

    def __iter__(self) -> Iterator[_Batch]:
        for index in range(len(split_into_batches(self.content.samples, self.batch_size))):
            generated = self.folder.read_table(GENERATED, index)
            scored = self.folder.read_table(SCORED, index)
            if generated is None or scored is None:
                raise missing_batch(self.folder, SCORED if generated else GENERATED, index)
            yield _Batch(
                self.content, parse_generated(generated), parse_scored(scored), self.decisions
            )


def _batch_rows(batch: _Batch, run: RunFacts, generation: GenerationFacts) -> Iterator[Row]:
    for key, generated in batch.generated.items():
        sample = batch.content.samples[key]
        for pair in batch.content.pairs[key]:
            if isinstance(generated, Rejection):
                yield failed_row(pair, run, generated, sample.split)
                continue
            scored = batch.scored[key]
            i, j = pair.image_indices
            yield complete_row(
                plan_columns(pair, run),
                split_columns(sample.split, pair),
                generation_columns(
                    generation,
                    size_px=generated.size_px,
                    generate_seconds=generated.generate_seconds,
                    device_name=generated.device_name,
                    attempt=generated.attempt,
                    num_pairs=len(sample.pairs),
                ),
                image_columns(_encode_pair(pair, generated, scored)),
                score_columns(scored.scores[i, j], (scored.masks[i], scored.masks[j]), run),
                decision_columns(batch.decisions[key][i, j]),
            )


def _batch_images(batch: _Batch) -> Iterator[Row]:
    for key, scored in batch.scored.items():
        generated = batch.generated[key]
        for pair in batch.content.pairs[key]:
            is_kept = batch.decisions[key][pair.image_indices].kept
            if is_kept and isinstance(generated, EncodedSample):
                yield image_row(pair.pair_id, _encode_pair(pair, generated, scored))


def _encode_pair(pair: PlannedPair, generated: EncodedSample, scored: ScoredSample) -> EncodedPair:
    i, j = pair.image_indices
    return EncodedPair(
        generated.images[i],
        generated.images[j],
        encode_mask(scored.masks[i].mask),
        encode_mask(scored.masks[j].mask),
        extension="webp" if generated.images[i].data[:4] == b"RIFF" else "png",
    )
