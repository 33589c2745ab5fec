"""Split, generate and score a shard: batch by batch, each stored before the next begins.

What is stored already, by an earlier start or by a twin of this worker, is not done again. Before
anything is spent the lease on the shard is looked at: who was paused for long may have lost it.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from coupled_core.dataset.work import GENERATED, SCORED, WorkFolder, batch_name
from coupled_core.progress import Progress
from coupled_core.records import ImageDescriptor, Rejection, Sample
from coupled_core.runs.checkpoints import (
    EncodedSample,
    Generated,
    ScoredSample,
    encode_sample,
    missing_batch,
    parse_generated,
    write_generated,
    write_scored,
)
from coupled_core.runs.shard import Batch, ShardWork
from coupled_core.scoring.clip import encode_embeddings
from coupled_core.scoring.content_filter import ContentFilter
from coupled_core.splitting.refusal import Refuse, accept_all
from coupled_core.splitting.splitter import Splitter

if TYPE_CHECKING:  # they import diffusers, open_clip and Segment Anything, which takes long
    from coupled_core.generation.generator import GroupGenerator
    from coupled_core.generation.sampler import OnStep
    from coupled_core.scoring.pair_scorer import PairScorer

_logger = logging.getLogger(__name__)


def split_shard(work: ShardWork, splitter: Splitter, refuse: Refuse = accept_all) -> int:
    """Split the groups of a shard; return how many of them have no split.

    Args:
        work: The shard.
        splitter: Is asked once, for all groups that are not refused.
        refuse: Returns why a group shall not be asked about, nor made; None: it may.
    """
    outcomes = work.find_outcomes()
    if outcomes is None:
        work.require_lease()
        groups = [planned.group for planned in work.input.groups]
        refusals = [refuse(group) for group in groups]
        allowed = [group for group, why in zip(groups, refusals, strict=True) if why is None]
        answers = iter(splitter.split(allowed))
        outcomes = tuple(why or next(answers) for why in refusals)
        work.keep_outcomes(outcomes)
    return sum(isinstance(outcome, Rejection) for outcome in outcomes)


def generate_shard(
    work: ShardWork,
    load_generator: "Callable[[], GroupGenerator]",
    progress: Progress,
    attempt: int = 1,
) -> int:
    """Generate what neither this run nor its kin has stored; return how many batches that took.

    Args:
        work: The shard, split, all earlier attempts scored.
        load_generator: Called only when there is something to generate.
        progress: Told the pairs of each batch under "generate".
        attempt: Which round of samples.
    """
    num_generated, batches = 0, work.attempt(attempt).batches
    for number, batch in enumerate(batches, 1):
        is_there = work.folder.read_keys(GENERATED, batch.index) == list(batch.samples)
        is_new = not is_there and not _take_over(work, batch)
        if is_new:
            generator = load_generator()  # may take minutes, so the look comes after it
            work.require_lease()
            tell_step = _tell_step(progress, f"batch {number} of {len(batches)}", batch.num_pairs)
            tell_step(0, 1)
            _generate_batch(work, batch, generator, tell_step)
            num_generated += 1
        progress.advance("generate", batch.num_pairs, is_new=is_new)
    return num_generated


def score_shard(
    work: ShardWork,
    load_scorer: "Callable[[], PairScorer]",
    progress: Progress,
    attempt: int = 1,
    load_content_filter: Callable[[], ContentFilter | None] = lambda: None,
) -> int:
    """Score what is not scored yet of an attempt; return how many batches that took.

    Args:
        work: The shard, the batches of the attempt generated.
        load_scorer: Called only when there is something to score.
        progress: Told the pairs of each batch under "score".
        attempt: Which round of samples.
        load_content_filter: Called together with `load_scorer`; None: images are not looked at.

    Raises:
        StorageError: a generated batch is missing.
    """
    num_scored, batches = 0, work.attempt(attempt).batches
    for number, batch in enumerate(batches, 1):
        is_new = False
        if work.folder.read_keys(SCORED, batch.index) != list(batch.samples):
            work.require_lease()
            made = _read_generated(work, batch)
            is_needed = any(isinstance(sample, EncodedSample) for sample in made.values())
            scorer = load_scorer() if is_needed else None
            progress.within("score", 0.0, f"batch {number} of {len(batches)}")
            concepts = load_content_filter() if is_needed else None
            scored = {
                key: _score(scorer, concepts, batch.samples[key], sample)
                if scorer and isinstance(sample, EncodedSample)
                else None
                for key, sample in made.items()
            }
            write_scored(work.folder, batch.index, scored)
            num_scored += 1
            is_new = True
        progress.advance("score", batch.num_pairs, is_new=is_new)
    return num_scored


def _take_over(work: ShardWork, batch: Batch) -> bool:
    """Copy a batch that another run has generated; False: none has.

    Each run has all of its work in its own folder, so that it stays while the run needs it.
    """
    for run_id in work.plan.kin:
        folder = WorkFolder(work.store, run_id, work.plan.shard_index)
        if folder.read_keys(GENERATED, batch.index) == list(batch.samples):
            table = folder.read_table(GENERATED, batch.index)
            if table is not None:  # it was removed meanwhile
                work.folder.write_table(GENERATED, batch.index, table)
                return True
    return False


def _tell_step(progress: Progress, batch: str, num_pairs: int) -> "OnStep":
    """One batch of a large model takes minutes, in which nothing else is heard of it."""

    def tell(step: int, of: int) -> None:
        where = f"step {step} of {of}" if step else "reading prompts"
        progress.within("generate", num_pairs * step / of, f"{batch}, {where}")

    return tell


def _generate_batch(
    work: ShardWork, batch: Batch, generator: "GroupGenerator", on_step: "OnStep"
) -> None:
    outcomes = generator.generate(list(batch.samples.values()), on_step)
    image_format = work.config.output.image_format
    encoded: dict[str, Generated] = {
        key: outcome if isinstance(outcome, Rejection) else encode_sample(outcome, image_format)
        for key, outcome in zip(batch.samples, outcomes, strict=True)
    }
    write_generated(work.folder, batch.index, encoded)
    for key, outcome in encoded.items():
        if isinstance(outcome, Rejection):
            _logger.warning("no images: %s", outcome.message, extra={"pair_id": key})
    _logger.info(
        "%s: generated batch %d of %d groups", work.folder.prefix, batch.index, len(encoded)
    )


def _read_generated(work: ShardWork, batch: Batch) -> dict[str, Generated]:
    table = work.folder.read_table(GENERATED, batch.index)
    with work.folder.named_damage(batch_name(GENERATED, batch.index)):
        found = {} if table is None else parse_generated(table)
    if list(found) != list(batch.samples):
        raise missing_batch(work.folder, GENERATED, batch.index)
    return found


def _score(
    scorer: "PairScorer",
    content_filter: ContentFilter | None,
    sample: Sample,
    encoded: EncodedSample,
) -> ScoredSample:
    generated = encoded.decode()
    embeddings = scorer.embed_images(generated.images)
    masks, scores = scorer.score(sample, generated, embeddings)
    codes = encode_embeddings(embeddings)
    concepts = [
        content_filter.find_in_image(*seen) if content_filter else ()
        for seen in zip(generated.images, embeddings, strict=True)
    ]
    return ScoredSample(tuple(masks), scores, tuple(map(ImageDescriptor, codes, concepts)))
