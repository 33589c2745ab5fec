"""Write a shard: its stored batches become rows and images, in parts that no reader sees yet."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

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
from coupled_core.dataset.work import GENERATED, SCORED
from coupled_core.records import Decision, GenerationProvenance, Rejection, RejectReason, Sample
from coupled_core.runs.checkpoints import (
    EncodedSample,
    Generated,
    ScoredSample,
    missing_batch,
    parse_generated,
    parse_scored,
)
from coupled_core.runs.planned import PairIds
from coupled_core.runs.shard import Attempt, ShardWork


def write_shard(work: ShardWork, run: RunFacts) -> UploadedShard:
    """Write and upload the parts of a shard whose attempts are all generated and scored.

    Args:
        run: What all its rows have in common.

    Raises:
        StorageError: a batch is missing, or an upload failed.
        LeaseLostError: another process has taken the shard over.
    """
    work.require_lease()
    pairs = chain(_made_rows(work, run), ((row, None) for row in _refused_rows(work, run)))
    uploaded = upload_shard(work.store, pairs, run_id=run.run_id, shard_index=work.plan.shard_index)
    # Last: whoever finds the marker may commit the parts that it names.
    work.folder.write_done(uploaded.model_dump(mode="json"))
    return uploaded


@dataclass(frozen=True)
class _StoredBatch:
    """Everything stored about the samples of one batch, by key."""

    attempt: Attempt
    generated: Mapping[str, Generated]
    scored: Mapping[str, ScoredSample]


@dataclass(frozen=True)
class _MadePair:
    """A pair that went through every stage."""

    planned: PlannedPair
    sample: Sample
    generated: EncodedSample
    scored: ScoredSample
    decision: Decision

    @cached_property
    def images(self) -> EncodedPair:
        # Cached, because the row and the part both ask, and each time masks would be encoded.
        i, j = self.planned.image_indices
        image_0, image_1 = self.generated.images[i], self.generated.images[j]
        shared = self.generated.background
        return EncodedPair(
            image_0,
            image_1,
            encode_mask(self.scored.masks[i].mask),
            encode_mask(self.scored.masks[j].mask),
            # By the bytes, since a stored batch does not say its format.
            extension="webp" if image_0.data.startswith(b"RIFF") else "png",
            background=shared and replace(shared, regions=(shared.regions[i], shared.regions[j])),
        )


def _read_batches(work: ShardWork) -> Iterator[_StoredBatch]:
    for attempt in work.attempts():
        for batch in attempt.batches:
            generated = work.folder.read_table(GENERATED, batch.index)
            scored = work.folder.read_table(SCORED, batch.index)
            if generated is None or scored is None:
                stage = GENERATED if generated is None else SCORED
                raise missing_batch(work.folder, stage, batch.index)
            yield _StoredBatch(attempt, parse_generated(generated), parse_scored(scored))


def _made_rows(work: ShardWork, run: RunFacts) -> Iterator[tuple[Row, Row | None]]:
    """Yield the row of every pair that was begun, with its images where they are to be stored."""
    for batch in _read_batches(work):
        yield from ((row, None) for row in _failed_rows(work, batch, run))
        for made in _batch_pairs(work, batch):
            is_stored = made.decision.kept or (
                work.config.output.store_dropped
                and RejectReason.UNSAFE not in made.decision.reject_reasons
            )
            row = _made_row(made, run, work.generation)
            yield row, image_row(made.planned.pair_id, made.images) if is_stored else None


def _batch_pairs(work: ShardWork, batch: _StoredBatch) -> Iterator[_MadePair]:
    for key, scored in batch.scored.items():
        generated = batch.generated[key]
        assert isinstance(generated, EncodedSample), "only what was generated is scored"
        sample = batch.attempt.samples[key]
        for planned in _planned_pairs(work, sample, batch.attempt.pair_ids[key]):
            decision = work.decisions[key][planned.image_indices]
            yield _MadePair(planned, sample, generated, scored, decision)


def _failed_rows(work: ShardWork, batch: _StoredBatch, run: RunFacts) -> Iterator[Row]:
    for key, generated in batch.generated.items():
        if isinstance(generated, Rejection):
            sample = batch.attempt.samples[key]
            for planned in _planned_pairs(work, sample, batch.attempt.pair_ids[key]):
                yield failed_row(planned, run, generated, sample.split)


def _refused_rows(work: ShardWork, run: RunFacts) -> Iterator[Row]:
    """Yield the rows of groups that have no split, and of unusable rows of the prompt set."""
    index = work.plan.shard_index
    for planned, sample, why in work.failed_samples():
        for pair, pair_id in sample.pair_ids.items():
            yield failed_row(
                PlannedPair(pair_id, planned.group, pair, sample.seed, index), run, why
            )
    for bad in work.input.bad_rows:
        yield quarantined_row(bad.row, bad.pair_id, index, run)


def _planned_pairs(work: ShardWork, sample: Sample, ids: PairIds) -> list[PlannedPair]:
    group, seed, index = sample.group, sample.seed, work.plan.shard_index
    return [PlannedPair(ids[pair], group, pair, seed, index, sample.attempt) for pair in ids]


def _made_row(made: _MadePair, run: RunFacts, generation: GenerationProvenance) -> Row:
    i, j = made.planned.image_indices
    seen = made.scored.descriptors
    return complete_row(
        plan_columns(made.planned, run),
        split_columns(made.sample.split, made.planned),
        generation_columns(
            generation,
            size_px=made.generated.size_px,
            generate_seconds=made.generated.generate_seconds,
            device_name=made.generated.device_name,
            batch_size=made.generated.batch_size,
            region_fraction=made.generated.region_fraction,
            num_pairs=len(made.sample.pairs),
        ),
        image_columns(made.images),
        score_columns(
            made.scored.scores[i, j],
            (made.scored.masks[i], made.scored.masks[j]),
            run,
            (seen[i], seen[j]) if seen else (),
        ),
        decision_columns(made.decision),
    )
