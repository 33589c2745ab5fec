"""A race of schedules: many on few groups, few on many, then finals on groups that none has seen.

Successive halving (Jamieson and Talwalkar 2016) on common random numbers: all candidates make the
same groups from the same noise as the schedule in use, so that paired differences decide. Who is
clearly worse, or makes worse what must not fall, is out; of the others the better half goes on.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from coupled_core.research.evaluation.intervals import Interval
from coupled_core.research.evaluation.pairs import EvaluatedPair
from coupled_core.research.evaluation.power import LEAST_GROUPS_TO_DECIDE
from coupled_core.research.optimization.judgement import (
    Standing,
    compare,
    describe_candidate,
    measure_means,
)
from coupled_core.research.optimization.trial import Side, Trial
from coupled_core.schedules.schedule import Schedule

RunTrials = Callable[[Sequence[Trial]], Sequence[list[EvaluatedPair]]]
"""Returns the pairs of each trial, in order."""
_BLOCK = 12
"""Groups of a trial: the most that a kill costs, and the least that a worker takes."""


@dataclass(frozen=True)
class Round:
    """How many candidates make how many groups."""

    num_candidates: int
    """At most: there may be fewer, where more than half have dropped out."""
    num_groups: int
    """In all, those of the rounds before included."""


def plan_rounds(
    num_candidates: int, first_groups: int, num_finalists: int, num_available: int
) -> tuple[Round, ...]:
    """Return the rounds up to the finals; each halves the candidates and doubles the groups."""
    rounds, alive, groups = [], num_candidates, first_groups
    while alive > num_finalists:
        rounds.append(Round(alive, min(groups, num_available)))
        alive, groups = max(num_finalists, (alive + 1) // 2), 2 * groups
    return tuple(rounds)


def count_groups(rounds: Sequence[Round], num_finalists: int, num_final_groups: int) -> int:
    """Return how many groups are made in all, at most; those of the schedule in use included."""
    made, before = 0, 0
    for each in rounds:
        made += (each.num_candidates + 1) * (each.num_groups - before)
        before = each.num_groups
    return made + (num_finalists + 1) * num_final_groups


@dataclass(frozen=True)
class RoundResult:
    """One round."""

    num_groups: int
    standings: tuple[Standing, ...]
    """Of all that took part: those that go on, then the others, each best first."""
    num_left: int
    """How many go on."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        rows = [each.to_dict() for each in self.standings]
        return {"num_groups": self.num_groups, "num_left": self.num_left, "standings": rows}


@dataclass(frozen=True)
class AtSteps:
    """The winner against the schedule in use at another number of steps."""

    num_inference_steps: int
    standing: Standing


@dataclass(frozen=True)
class RaceResult:
    """How a race ended."""

    objective: str
    before: Schedule
    """The schedule in use."""
    before_means: dict[str, Interval]
    """Its measures on the groups of the finals; none where nobody came that far."""
    rounds: tuple[RoundResult, ...]
    finals: tuple[Standing, ...]
    """Best first; empty: all candidates had dropped out."""
    winner: Schedule | None
    """None: nothing better was found."""
    at_steps: tuple[AtSteps, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "objective": self.objective,
            "before": {
                "schedule_id": self.before.id,
                "note": self.before.note,
                "means": {name: asdict(value) for name, value in self.before_means.items()},
            },
            "rounds": [each.to_dict() for each in self.rounds],
            "finals": [each.to_dict() for each in self.finals],
            "at_steps": [
                {"num_inference_steps": each.num_inference_steps, **each.standing.to_dict()}
                for each in self.at_steps
            ],
            "winner": None if self.winner is None else describe_candidate(self.winner),
        }


class _Pairs:
    """The pairs of some schedules on the first so many groups of a side."""

    def __init__(
        self,
        run: RunTrials,
        side: Side,
        *,
        ends: Sequence[int] = (),
        num_steps: int | None = None,
    ) -> None:
        """Take where rounds end: trials do not reach beyond, so that the next round has them."""
        self._run, self._side, self._ends, self._num_steps = run, side, ends, num_steps

    def make(self, schedules: Sequence[Schedule], num_groups: int) -> list[list[EvaluatedPair]]:
        """Return the pairs of each schedule; what was made before comes from the records."""
        within = {*range(0, num_groups, _BLOCK), *(end for end in self._ends if end < num_groups)}
        blocks = list(pairwise([*sorted(within), num_groups]))
        trials = [
            Trial(schedule, self._side, start, stop, self._num_steps)
            for schedule in schedules
            for start, stop in blocks
        ]
        made = iter(self._run(trials))
        return [[pair for _ in blocks for pair in next(made)] for _ in schedules]


def race(
    before: Schedule,
    candidates: Sequence[Schedule],
    rounds: Sequence[Round],
    num_finalists: int,
    objective: str,
    run: RunTrials,
) -> tuple[RoundResult, ...]:
    """Run the rounds until no more than the finalists are left, or nobody.

    Args:
        before: the schedule in use.
        candidates: all that take part.
        rounds: from `plan_rounds`.
        num_finalists: most that are left in the end.
        objective: name of the measure that has to rise.
        run: evaluates trials.
    """
    results: list[RoundResult] = []
    pairs = _Pairs(run, "race", ends=[each.num_groups for each in rounds])
    alive = list(candidates)
    for number, each in enumerate(rounds, 1):
        most = rounds[number].num_candidates if number < len(rounds) else num_finalists
        of_before, *of_others = pairs.make([before, *alive], each.num_groups)
        standings = [
            compare(schedule, own, of_before, objective)
            for schedule, own in zip(alive, of_others, strict=True)
        ]
        standings.sort(key=lambda one: (not may_win(one, objective), -_gain(one, objective)))
        num_left = min(most, sum(may_win(one, objective) for one in standings))
        results.append(RoundResult(each.num_groups, tuple(standings), num_left))
        alive = [one.schedule for one in standings[:num_left]]
        if len(alive) <= num_finalists:
            break
    return tuple(results)


def may_win(standing: Standing, objective: str) -> bool:
    """Say whether a candidate is neither vetoed nor clearly worse than the schedule in use."""
    gain = standing.differences[objective]
    # The same images as before cannot win, however often they are made.
    return not standing.vetoes and gain.high > 0.0


def hold_finals(
    before: Schedule,
    finalists: Sequence[Schedule],
    num_groups: int,
    objective: str,
    run: RunTrials,
) -> tuple[tuple[Standing, ...], dict[str, Interval], Schedule | None]:
    """Compare the finalists with the schedule in use on groups that were not raced on.

    Returns:
        The finalists, best first; the measures of the schedule in use; and the winner: the best
        one without veto whose gain has an interval above 0; nobody on so few groups that
        intervals say little.
    """
    if not finalists:
        return (), {}, None
    of_before, *of_others = _Pairs(run, "finals").make([before, *finalists], num_groups)
    standings = [
        compare(schedule, own, of_before, objective, is_final=True)
        for schedule, own in zip(finalists, of_others, strict=True)
    ]
    standings.sort(key=lambda one: (bool(one.vetoes), -_gain(one, objective)))
    winners = [one.schedule for one in standings if _has_won(one, objective)]
    return tuple(standings), measure_means(of_before), winners[0] if winners else None


def check_steps(
    before: Schedule,
    winner: Schedule,
    steps: Sequence[int],
    num_groups: int,
    objective: str,
    run: RunTrials,
) -> tuple[AtSteps, ...]:
    """Compare the winner with the schedule in use at other step counts, on the finals' groups."""
    found = []
    for count in steps:
        own = count == winner.num_inference_steps
        pairs = _Pairs(run, "finals", num_steps=None if own else count)
        both = pairs.make([before, winner], num_groups)
        found.append(AtSteps(count, compare(winner, both[1], both[0], objective, is_final=True)))
    return tuple(found)


def _has_won(standing: Standing, objective: str) -> bool:
    gain = standing.differences[objective]
    return not standing.vetoes and gain.low > 0.0 and gain.count >= LEAST_GROUPS_TO_DECIDE


def _gain(standing: Standing, objective: str) -> float:
    return standing.differences[objective].mean
