"""Which pairs of a shard are kept: one decision a scored pair, and of several attempts the best."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from coupled_core.config import FilterConfig, SelectionConfig
from coupled_core.dataset.best_pairs import Candidate, Edit, choose_best
from coupled_core.filtering.decide import decide
from coupled_core.records import Decision, RejectReason, Sample
from coupled_core.runs.checkpoints import ScoredSample

PairName = tuple[str, tuple[int, int]]
"""The key of a sample and two image indices."""
Decisions = Mapping[str, Mapping[tuple[int, int], Decision]]
"""By key of the sample, then by pair of image indices."""


@dataclass(frozen=True)
class Judgement:
    """What the filter says about the pairs of one attempt, whatever became of other attempts."""

    decisions: Decisions
    candidates: tuple[Candidate[PairName], ...]
    """The pairs that pass."""


def judge_samples(
    samples: Mapping[str, Sample], scored: Mapping[str, ScoredSample], config: FilterConfig
) -> Judgement:
    """Judge every scored pair by itself.

    Args:
        samples: By key.
        scored: By key; samples that could not be generated are missing.
    """
    decisions = {key: _decide(sample, config) for key, sample in scored.items()}
    candidates = tuple(
        Candidate(
            (key, pair),
            (samples[key].group.group_id, *pair),
            scored[key].scores[pair].combined,
            samples[key].attempt,
        )
        for key, pairs in decisions.items()
        for pair, decision in pairs.items()
        if decision.kept
    )
    return Judgement(decisions, candidates)


def count_wanted(first: Iterable[Sample], config: SelectionConfig) -> dict[Edit, int]:
    """Return how many pairs of each edit are kept at most.

    Args:
        first: The samples of the first attempt, one for each requested seed.
        config: The quota; without one, as many as seeds are requested.
    """
    requested = Counter(edit for sample in first for edit in edits_of(sample))
    return {edit: config.quota or number for edit, number in requested.items()}


def edits_of(sample: Sample) -> list[Edit]:
    """Return the edits that a sample is an attempt at."""
    return [(sample.group.group_id, i, j) for i, j in sample.pairs]


def keep_best(judgements: Iterable[Judgement], wanted: Mapping[Edit, int]) -> Decisions:
    """Return the final decisions: a pair that passes but is beaten by others is not kept."""
    judgements = list(judgements)
    chosen = choose_best((c for each in judgements for c in each.candidates), wanted)
    beaten = Decision(kept=False, reject_reasons=(RejectReason.NOT_BEST,))
    return {
        key: {
            pair: beaten if decision.kept and (key, pair) not in chosen else decision
            for pair, decision in pairs.items()
        }
        for each in judgements
        for key, pairs in each.decisions.items()
    }


def count_decisions(decisions: Decisions) -> Counter[str]:
    """Return how many pairs are "kept", and how many each reason speaks against."""
    found = [decision for pairs in decisions.values() for decision in pairs.values()]
    counts = Counter(str(reason) for decision in found for reason in decision.reject_reasons)
    counts["kept"] = sum(decision.kept for decision in found)
    return counts


def _decide(scored: ScoredSample, config: FilterConfig) -> dict[tuple[int, int], Decision]:
    unsafe = {index for index, each in enumerate(scored.descriptors) if each.concepts}
    decisions = {}
    for (i, j), scores in scored.scores.items():
        decision = decide(scores, (scored.masks[i], scored.masks[j]), config)
        if not unsafe.isdisjoint((i, j)):
            # No threshold says it, so no re-cut takes it back.
            decision = Decision(False, (*decision.reject_reasons, RejectReason.UNSAFE))
        decisions[i, j] = decision
    return decisions
