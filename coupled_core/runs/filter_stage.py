"""The filter stage of a shard: one decision a scored pair, and of several attempts the best."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from coupled_core.config import FilterConfig, SelectionConfig
from coupled_core.filtering.decide import Candidate, Edit, choose_best, decide, unmet_edits
from coupled_core.records import Decision, RejectReason, Sample
from coupled_core.runs.checkpoints.decisions import Decisions, write_decisions
from coupled_core.runs.checkpoints.folder import ShardFolder, batches_of_attempt, missing_batch
from coupled_core.runs.checkpoints.scored import STAGE as SCORED
from coupled_core.runs.checkpoints.scored import ScoredSample, parse_scored

PairName = tuple[str, tuple[int, int]]
"""Key of a sample and two image indices."""


@dataclass(frozen=True)
class Verdicts:
    """What the filter says about pairs, whatever became of other attempts at them."""

    decisions: Decisions
    candidates: tuple[Candidate[PairName], ...]
    """The pairs that pass."""

    def __add__(self, other: "Verdicts") -> "Verdicts":
        return Verdicts(self.decisions | other.decisions, self.candidates + other.candidates)


NO_VERDICTS = Verdicts({}, ())


def judge_attempt(
    samples: Mapping[str, Sample],
    folder: ShardFolder,
    config: FilterConfig,
    *,
    batch_size: int,
    attempt: int,
) -> Verdicts:
    """Judge every scored pair of one attempt by itself.

    Raises:
        StorageError: a scored batch is missing.
    """
    decisions: Decisions = {}
    candidates = []
    for index, _ in batches_of_attempt(samples, batch_size, attempt):
        table = folder.read_table(SCORED, index)
        if table is None:
            raise missing_batch(folder, SCORED, index)
        for key, scored in parse_scored(table).items():
            decisions[key] = _decide(scored, config)
            candidates += _candidates(key, samples[key], scored, decisions[key])
    return Verdicts(decisions, tuple(candidates))


def groups_to_try_again(
    samples: Mapping[str, Sample], verdicts: Verdicts, config: SelectionConfig
) -> set[str]:
    """Return the groups of which fewer pairs pass so far than are wanted."""
    quotas = edit_quotas(samples, config)
    if not config.early_stop:
        return {sample.group.group_id for sample in samples.values()}
    unmet = unmet_edits(verdicts.candidates, quotas)
    return {s.group.group_id for s in samples.values() if unmet.intersection(_edits_of(s))}


def edit_quotas(samples: Mapping[str, Sample], config: SelectionConfig) -> dict[Edit, int]:
    """Return how many pairs of each edit are kept at most."""
    first = (sample for sample in samples.values() if sample.attempt == 1)
    requested = Counter(edit for sample in first for edit in _edits_of(sample))
    return {edit: config.quota or number for edit, number in requested.items()}


def filter_shard(
    samples: Mapping[str, Sample],
    folder: ShardFolder,
    config: FilterConfig,
    *,
    batch_size: int,
    selection: SelectionConfig | None = None,
) -> Counter[str]:
    """Decide about every scored pair, store it, and return counts of "kept" and of each reason.

    Args:
        samples: Of every attempt that was made, by key.
        folder: Work of this shard, its scored batches complete.
        config: What pairs must pass.
        batch_size: As in the generate stage.
        selection: How many of those that pass are kept; None: all.

    Raises:
        StorageError: a scored batch is missing.
    """
    attempts = sorted({sample.attempt for sample in samples.values()})
    verdicts = NO_VERDICTS
    for attempt in attempts:
        verdicts += judge_attempt(samples, folder, config, batch_size=batch_size, attempt=attempt)
    decisions = _select(verdicts, edit_quotas(samples, selection or SelectionConfig()))
    write_decisions(folder, decisions)
    found = [decision for pairs in decisions.values() for decision in pairs.values()]
    counts = Counter(str(reason) for decision in found for reason in decision.reject_reasons)
    counts["kept"] = sum(decision.kept for decision in found)
    return counts


def _select(verdicts: Verdicts, quotas: dict[Edit, int]) -> Decisions:
    chosen = choose_best(verdicts.candidates, quotas)
    beaten = Decision(kept=False, reject_reasons=(RejectReason.NOT_BEST,))
    return {
        key: {
            pair: beaten if decision.kept and (key, pair) not in chosen else decision
            for pair, decision in pairs.items()
        }
        for key, pairs in verdicts.decisions.items()
    }


def _candidates(
    key: str, sample: Sample, scored: ScoredSample, decisions: Mapping[tuple[int, int], Decision]
) -> list[Candidate[PairName]]:
    group = sample.group.group_id
    return [
        Candidate((key, pair), (group, *pair), scored.scores[pair].combined, sample.attempt)
        for pair, decision in decisions.items()
        if decision.kept
    ]


def _edits_of(sample: Sample) -> list[Edit]:
    return [(sample.group.group_id, i, j) for i, j in sample.pairs]


def _decide(scored: ScoredSample, config: FilterConfig) -> dict[tuple[int, int], Decision]:
    unsafe = {index for index, each in enumerate(scored.descriptors) if each.concepts}
    return {
        pair: _decide_pair(scored, pair, config, is_unsafe=not unsafe.isdisjoint(pair))
        for pair in scored.scores
    }


def _decide_pair(
    scored: ScoredSample, pair: tuple[int, int], config: FilterConfig, *, is_unsafe: bool
) -> Decision:
    masks = (scored.masks[pair[0]], scored.masks[pair[1]])
    decision = decide(scored.scores[pair], masks, config)
    if not is_unsafe:
        return decision
    return Decision(False, (*decision.reject_reasons, RejectReason.UNSAFE))
