"""What is done with one shard or one of its batches; `pipeline` says when."""

import logging
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from coupled_core.dataset.work import GENERATED, WorkFolder, batch_name
from coupled_core.records import GeneratedSample, ImageDescriptor, Rejection, Sample
from coupled_core.runs.checkpoints import (
    Generated,
    ScoredSample,
    encode_sample,
    missing_batch,
    parse_generated,
    write_generated,
)
from coupled_core.runs.shard import Batch, ShardWork
from coupled_core.scoring.clip import encode_embeddings
from coupled_core.scoring.content_filter import ContentFilter
from coupled_core.splitting.refusal import Refuse, accept_all
from coupled_core.splitting.splitter import Splitter

if TYPE_CHECKING:  # it imports open_clip and Segment Anything, which takes long
    from coupled_core.scoring.pair_scorer import PairScorer

_logger = logging.getLogger(__name__)
MadeOutcome = GeneratedSample | Rejection
_ENCODING_THREADS = min(4, max(1, (os.cpu_count() or 1) // 2))
"""Encoding leaves Python's lock alone; the other cores are the generator's and the scorer's."""


def split_shard(work: ShardWork, splitter: Splitter, refuse: Refuse = accept_all) -> int:
    """Split the groups of a shard; return how many of them have no split.

    Args:
        splitter: Is asked once, for all groups that are not refused.
        refuse: Returns why a group shall not be asked about, nor made; None: it may.
    """
    outcomes = work.find_outcomes()
    if outcomes is None:
        # Before money is spent, not after.
        work.require_lease()
        groups = [planned.group for planned in work.input.groups]
        refusals = [refuse(group) for group in groups]
        allowed = [group for group, why in zip(groups, refusals, strict=True) if why is None]
        answers = iter(splitter.split(allowed))
        # Answers come for allowed groups only, in their order: each refusal takes the place of one.
        outcomes = tuple(why or next(answers) for why in refusals)
        work.keep_outcomes(outcomes)
    return sum(isinstance(outcome, Rejection) for outcome in outcomes)


def take_over(work: ShardWork, batch: Batch) -> bool:
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


def store_batch(work: ShardWork, batch: Batch, outcomes: Mapping[str, MadeOutcome]) -> None:
    """Encode and store what was generated of a batch, by key of the sample."""
    output = work.config.output

    def encode(outcome: MadeOutcome) -> Generated:
        if isinstance(outcome, Rejection):
            return outcome
        return encode_sample(outcome, output.image_format, with_background=output.store_background)

    with ThreadPoolExecutor(_ENCODING_THREADS) as pool:
        encoded = dict(zip(outcomes, pool.map(encode, outcomes.values()), strict=True))
    write_generated(work.folder, batch.index, encoded)
    for key, outcome in encoded.items():
        if isinstance(outcome, Rejection):
            _logger.warning("no images: %s", outcome.message, extra={"pair_id": key})
    _logger.info(
        "%s: generated batch %d of %d groups", work.folder.prefix, batch.index, len(encoded)
    )


def read_outcomes(work: ShardWork, batch: Batch) -> dict[str, MadeOutcome]:
    """Return a stored batch as it was generated.

    Raises:
        StorageError: it is missing or damaged.
    """
    table = work.folder.read_table(GENERATED, batch.index)
    with work.folder.named_damage(batch_name(GENERATED, batch.index)):
        found = {} if table is None else parse_generated(table)
    if list(found) != list(batch.samples):
        raise missing_batch(work.folder, GENERATED, batch.index)
    return {
        key: each if isinstance(each, Rejection) else each.decode() for key, each in found.items()
    }


def score_sample(
    scorer: "PairScorer",
    content_filter: ContentFilter | None,
    sample: Sample,
    generated: GeneratedSample,
) -> ScoredSample:
    """Find the entities, score every pair, and look at the images for unwanted concepts."""
    # Once for the score, the code for duplicates and the content filter.
    embeddings = scorer.embed_images(generated.images)
    masks, scores = scorer.score(sample, generated, embeddings)
    codes = encode_embeddings(embeddings)
    concepts = [
        content_filter.find_in_image(*seen) if content_filter else ()
        for seen in zip(generated.images, embeddings, strict=True)
    ]
    return ScoredSample(tuple(masks), scores, tuple(map(ImageDescriptor, codes, concepts)))
