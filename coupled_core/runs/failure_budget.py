"""Stops a run that burns money on garbage: too many of its recent pairs failed or were rejected."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from coupled_core.config import ExecutionConfig
from coupled_core.dataset.funnel import Funnel
from coupled_core.records import RejectReason

_STAGES: Mapping[str, str] = {
    RejectReason.SPLIT_FAILED: "split",
    RejectReason.DIFFERENCE_BEYOND_WINDOW: "split",
    RejectReason.UNKNOWN_SCRIPT: "generate",
    RejectReason.GENERATION_FAILED: "generate",
    RejectReason.UNSAFE: "score",
}
"""Which stage gives a reason; all others are the filter's."""


@dataclass(frozen=True)
class _Recent:
    """The pairs of a shard; one may have several reasons."""

    num_pairs: int
    num_failed: int
    num_rejected: int
    failed_at: Counter[str]
    rejected_at: Counter[str]


class FailureBudget:
    """Watches the last shards of a run, as many as hold `budget_window` pairs."""

    def __init__(self, config: ExecutionConfig) -> None:
        self._config = config
        self._recent: deque[_Recent] = deque()

    def add_built(self, funnel: Funnel) -> None:
        """Count the rows of a finished shard."""
        failed, rejected = _place(funnel.failed_by_reason), _place(funnel.dropped_by_reason)
        counts = funnel.pairs_planned, funnel.pairs_failed, funnel.pairs_dropped
        self._add(_Recent(*counts, failed, rejected))

    def add_failed(self, num_pairs: int, stage: str | None, error: str) -> None:
        """Count all pairs of a shard that failed as a whole."""
        where = Counter({f"{stage or 'an unknown stage'} ({error})": num_pairs})
        self._add(_Recent(num_pairs, num_pairs, 0, where, Counter()))

    def find_excess(self) -> str | None:
        """Return why the run should stop, naming the stage; None: it may go on."""
        recent, config = self._recent, self._config
        total = sum(each.num_pairs for each in recent)
        # Too few pairs to tell a bad run from a bad beginning.
        if total < config.budget_window:
            return None
        for verb, number, allowed, where, setting in (
            ("failed", sum(each.num_failed for each in recent), config.max_failed_share,
             [each.failed_at for each in recent], "max_failed_share"),
            ("were rejected", sum(each.num_rejected for each in recent), config.max_rejected_share,
             [each.rejected_at for each in recent], "max_rejected_share"),
        ):  # fmt: skip
            if number > allowed * total:
                worst, count = sum(where, Counter[str]()).most_common(1)[0]
                return (
                    f"{number} of the last {total} pairs {verb}, {count} of them at {worst}: more "
                    f"than {setting} {allowed:g} allows; find out why, then run the same command"
                )
        return None

    def _add(self, shard: _Recent) -> None:
        self._recent.append(shard)
        total = sum(each.num_pairs for each in self._recent)
        # The oldest shard goes as soon as the others fill the window alone.
        while total - self._recent[0].num_pairs >= self._config.budget_window:
            total -= self._recent.popleft().num_pairs


def _place(by_reason: Mapping[str, int]) -> Counter[str]:
    return Counter({f"{_STAGES.get(r, 'filter')} ({r})": n for r, n in by_reason.items()})
