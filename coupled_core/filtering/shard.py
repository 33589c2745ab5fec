"""The filter stage of a shard: one decision a scored pair."""

from collections import Counter
from collections.abc import Mapping

from coupled_core.checkpoints.decisions import Decisions, write_decisions
from coupled_core.checkpoints.folder import ShardFolder, missing_batch, split_into_batches
from coupled_core.checkpoints.scored import STAGE as SCORED
from coupled_core.checkpoints.scored import ScoredSample, parse_scored
from coupled_core.config import FilterConfig
from coupled_core.filtering.decide import decide
from coupled_core.records import Decision, Sample


def filter_shard(
    samples: Mapping[str, Sample], folder: ShardFolder, config: FilterConfig, *, batch_size: int
) -> Counter[str]:
    """Decide about every scored pair, store it, and return counts of "kept" and of each reason.

    Raises:
        StorageError: a scored batch is missing.
    """
    decisions: Decisions = {}
    for index in range(len(split_into_batches(samples, batch_size))):
        table = folder.read_table(SCORED, index)
        if table is None:
            raise missing_batch(folder, SCORED, index)
        decisions |= {key: _decide(scored, config) for key, scored in parse_scored(table).items()}
    write_decisions(folder, decisions)
    found = [decision for pairs in decisions.values() for decision in pairs.values()]
    counts = Counter(reason.value for decision in found for reason in decision.reject_reasons)
    counts["kept"] = sum(decision.kept for decision in found)
    return counts


def _decide(scored: ScoredSample, config: FilterConfig) -> dict[tuple[int, int], Decision]:
    return {
        (i, j): decide(scores, (scored.masks[i], scored.masks[j]), config)
        for (i, j), scores in scored.scores.items()
    }
