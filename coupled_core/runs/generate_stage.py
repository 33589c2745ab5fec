"""The generate stage of a shard: batch by batch, each stored before the next begins."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

from coupled_core.progress import Progress
from coupled_core.records import GeneratedSample, Rejection, Sample
from coupled_core.runs.checkpoints.folder import ShardFolder, batches_of_attempt, same_keys
from coupled_core.runs.checkpoints.generated import STAGE, Generated, encode_sample, write_generated

_logger = logging.getLogger(__name__)


class GeneratesGroups(Protocol):
    """What is asked of a generator; `generation.generator.GroupGenerator` is one."""

    def generate(self, samples: Sequence[Sample]) -> Sequence[GeneratedSample | Rejection]:
        """Return one outcome a sample, in order."""


def generate_shard(
    samples: Mapping[str, Sample],
    load_generator: Callable[[], GeneratesGroups],
    folder: ShardFolder,
    *,
    batch_size: int,
    image_format: Literal["png", "webp"],
    progress: Progress,
    attempt: int = 1,
) -> int:
    """Generate what is not stored yet and return how many batches that took.

    Args:
        samples: By key, in order; the same samples and batch size make the same batches.
        load_generator: Called only when there is something to generate.
        folder: Work of this shard. Stored batches are passed over, also those of a twin.
        batch_size: Samples a batch; the most whose images are in memory.
        image_format: How images are encoded, without loss.
        progress: Told the pairs of each batch under "generate".
        attempt: Whose samples are generated; those of earlier attempts are there.
    """
    num_generated = 0
    for index, batch in batches_of_attempt(samples, batch_size, attempt):
        if not same_keys(folder.read_table(STAGE, index), list(batch)):
            _generate_batch(index, batch, load_generator(), folder, image_format)
            num_generated += 1
        progress.advance("generate", sum(len(sample.pairs) for sample in batch.values()))
    return num_generated


def _generate_batch(
    index: int,
    batch: Mapping[str, Sample],
    generator: GeneratesGroups,
    folder: ShardFolder,
    image_format: Literal["png", "webp"],
) -> None:
    outcomes = generator.generate(list(batch.values()))
    encoded: dict[str, Generated] = {
        key: outcome if isinstance(outcome, Rejection) else encode_sample(outcome, image_format)
        for key, outcome in zip(batch, outcomes, strict=True)
    }
    write_generated(folder, index, encoded)
    _logger.info("%s: generated batch %d of %d groups", folder.prefix, index, len(batch))
