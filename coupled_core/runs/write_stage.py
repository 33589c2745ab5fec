"""The write stage of a shard: from stored batches to parts, one batch in memory at a time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from coupled_core.dataset.commit.upload import UploadedShard, upload_shard
from coupled_core.dataset.images import encode_mask
from coupled_core.dataset.rows import (
    EncodedPair,
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
from coupled_core.records import (
    Decision,
    GenerationProvenance,
    QuarantinedRow,
    Rejection,
    RejectReason,
    Sample,
)
from coupled_core.runs.checkpoints.decisions import Decisions, read_decisions
from coupled_core.runs.checkpoints.folder import ShardFolder, missing_batch, split_into_batches
from coupled_core.runs.checkpoints.generated import STAGE as GENERATED
from coupled_core.runs.checkpoints.generated import EncodedSample, Generated, parse_generated
from coupled_core.runs.checkpoints.scored import STAGE as SCORED
from coupled_core.runs.checkpoints.scored import ScoredSample, parse_scored
from coupled_core.runs.identity import quarantined_id
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
    generation: GenerationProvenance,
    *,
    batch_size: int,
    store_dropped: bool = False,
) -> UploadedShard:
    """Write and upload the parts of a shard whose batches are generated, scored and decided.

    Args:
        content: What becomes rows.
        folder: Where the batches are.
        store: The dataset.
        run: What all rows have in common.
        generation: How images were made.
        batch_size: Samples a batch.
        store_dropped: Store the images of dropped pairs, too, except unsafe ones.

    Raises:
        StorageError: a batch or the decisions are missing, or an upload failed.
    """
    decisions = read_decisions(folder)
    if decisions is None:
        raise missing_batch(folder, "decisions", 0)
    reader = _Reader(content, folder, decisions, batch_size)
    refused = [failed_row(pair, run, why) for pair, why in content.failed]
    for bad in content.quarantined:
        pair_id = quarantined_id(
            source_file=bad.source_file, source_row=bad.source_row, message=bad.message
        )
        refused.append(quarantined_row(bad, pair_id, content.shard_index, run))
    rows = [row for batch in reader for row in _batch_rows(batch, run, generation)]
    return upload_shard(
        store,
        [*rows, *refused],
        (image for batch in reader for image in _batch_images(batch, _is_kept)),
        dropped_rows=(
            image
            for batch in (reader if store_dropped else ())
            for image in _batch_images(batch, _may_be_stored)
        ),
        run_id=run.run_id,
        shard_index=content.shard_index,
    )


def iter_dropped(
    content: ShardContent,
    folder: ShardFolder,
    run: RunFacts,
    generation: GenerationProvenance,
    *,
    batch_size: int,
) -> Iterator[tuple[Row, EncodedPair]]:
    """Yield rows and images of scored pairs that were not kept; only the work has those images."""
    for batch in _Reader(content, folder, read_decisions(folder) or {}, batch_size):
        for made in _made_pairs(batch):
            if not made.decision.kept:
                yield _made_row(made, run, generation), made.images


@dataclass(frozen=True)
class _Batch:
    """Everything stored about the samples of one batch, by key."""

    content: ShardContent
    generated: Mapping[str, Generated]
    scored: Mapping[str, ScoredSample]
    decisions: Decisions


@dataclass(frozen=True)
class _MadePair:
    """A pair that went through every stage."""

    pair: PlannedPair
    sample: Sample
    generated: EncodedSample
    scored: ScoredSample
    decision: Decision

    @property
    def images(self) -> EncodedPair:
        i, j = self.pair.image_indices
        image_0, image_1 = self.generated.images[i], self.generated.images[j]
        return EncodedPair(
            image_0,
            image_1,
            encode_mask(self.scored.masks[i].mask),
            encode_mask(self.scored.masks[j].mask),
            extension="webp" if image_0.data.startswith(b"RIFF") else "png",
        )


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


def _batch_rows(batch: _Batch, run: RunFacts, generation: GenerationProvenance) -> Iterator[Row]:
    for key, generated in batch.generated.items():
        if isinstance(generated, Rejection):
            split = batch.content.samples[key].split
            yield from (failed_row(p, run, generated, split) for p in batch.content.pairs[key])
    for made in _made_pairs(batch):
        yield _made_row(made, run, generation)


def _batch_images(batch: _Batch, is_wanted: Callable[[Decision], bool]) -> Iterator[Row]:
    for made in _made_pairs(batch):
        if is_wanted(made.decision):
            yield image_row(made.pair.pair_id, made.images)


def _is_kept(decision: Decision) -> bool:
    return decision.kept


def _may_be_stored(decision: Decision) -> bool:
    return not decision.kept and RejectReason.UNSAFE not in decision.reject_reasons


def _made_pairs(batch: _Batch) -> Iterator[_MadePair]:
    for key, scored in batch.scored.items():
        generated = batch.generated[key]
        assert isinstance(generated, EncodedSample), "only what was generated is scored"
        for pair in batch.content.pairs[key]:
            decision = batch.decisions[key][pair.image_indices]
            yield _MadePair(pair, batch.content.samples[key], generated, scored, decision)


def _made_row(made: _MadePair, run: RunFacts, generation: GenerationProvenance) -> Row:
    i, j = made.pair.image_indices
    masks = (made.scored.masks[i], made.scored.masks[j])
    seen = made.scored.descriptors
    descriptors = (seen[i], seen[j]) if seen else ()
    return complete_row(
        plan_columns(made.pair, run),
        split_columns(made.sample.split, made.pair),
        generation_columns(
            generation,
            size_px=made.generated.size_px,
            generate_seconds=made.generated.generate_seconds,
            device_name=made.generated.device_name,
            num_pairs=len(made.sample.pairs),
        ),
        image_columns(made.images),
        score_columns(made.scored.scores[i, j], masks, run, descriptors),
        decision_columns(made.decision),
    )
