"""How two schedules compare on the same groups: what has to rise, and what must not fall."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, Literal

from coupled_core.research.evaluation.intervals import (
    Interval,
    bootstrap_difference,
    bootstrap_mean,
)
from coupled_core.research.evaluation.pairs import FLOOR_OBJECTIVE, EvaluatedPair
from coupled_core.schedules.schedule import Schedule

_FLOOR_SIMILARITY = -108.0
"""S of two images of independent noise: what a pair without images, or without background, counts.
"""


@dataclass(frozen=True)
class Measure:
    """One number of a pair that schedules are compared by."""

    name: str
    title: str
    read: Callable[[EvaluatedPair], float | None]
    """None: it cannot be said of this pair."""
    tolerance: float
    """By how much its mean may be worse than that of the schedule in use."""
    is_better: Literal["larger", "smaller"] = "larger"
    is_relative: bool = False
    """The tolerance is a share of the mean of the schedule in use."""


def _read_score(pair: EvaluatedPair, name: str, floor: float) -> float:
    value = getattr(pair.scores, name) if pair.scores is not None else None
    return max(value, floor) if value is not None and isfinite(value) else floor


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


MEASURES: Mapping[str, Measure] = {
    each.name: each
    for each in (
        # Without the cliff of the guards: a lost entity would count a hundred times what
        # candidates differ by. It counts below, as a share of pairs.
        Measure("combined", "J", lambda pair: _read_score(pair, "combined", FLOOR_OBJECTIVE), 0.02),
        Measure(
            "background_similarity_clear",
            "S clear of the masks",
            lambda pair: _read_score(pair, "background_similarity_clear", _FLOOR_SIMILARITY),
            0.1,
        ),
        Measure("right_fraction", "images right", lambda pair: pair.right_fraction, 0.03),
        Measure(
            "stock_overlap", "IoU with stock entity", lambda pair: _mean(pair.stock_overlap), 0.02
        ),
        Measure(
            "stock_outside",
            "stock entity outside region",
            lambda pair: _mean(pair.stock_outside),
            0.006,
            "smaller",
        ),
        Measure("unfit", "pairs unfit", lambda pair: float(bool(pair.guards)), 0.02, "smaller"),
        Measure(
            "model_evaluations",
            "evaluations a pair",
            lambda pair: pair.model_evaluations,
            0.03,
            "smaller",
            is_relative=True,
        ),
    )
}
"""By name. One of them has to rise, the others are vetoes; those that no pair has are left out."""


@dataclass(frozen=True)
class Standing:
    """A candidate against the schedule in use, on the same groups."""

    schedule: Schedule
    means: Mapping[str, Interval]
    """Of each measure."""
    differences: Mapping[str, Interval]
    """Candidate less the schedule in use, paired by group."""
    vetoes: tuple[str, ...]
    """Measures that speak against the candidate, see `find_vetoes`."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            **describe_candidate(self.schedule),
            "means": {name: asdict(value) for name, value in self.means.items()},
            "differences": {name: asdict(value) for name, value in self.differences.items()},
            "vetoes": list(self.vetoes),
        }


def describe_candidate(schedule: Schedule) -> dict[str, Any]:
    """Return what tells a candidate from others, as JSON values."""
    content = schedule.to_dict()
    return {k: content[k] for k in ("family", "parameters", "region") if k in content}


def compare(
    schedule: Schedule,
    own: Sequence[EvaluatedPair],
    before: Sequence[EvaluatedPair],
    objective: str,
    *,
    is_final: bool = False,
) -> Standing:
    """Hold a schedule against the one in use.

    Args:
        schedule: the candidate.
        own: its pairs.
        before: those of the schedule in use, on the same groups.
        objective: name of the measure that has to rise.
        is_final: see `find_vetoes`.
    """
    names = [name for name in MEASURES if any(_group(own, before, name))]
    groups = {name: _group(own, before, name) for name in names}
    differences = {name: bootstrap_difference(*groups[name]) for name in names}
    references = {name: bootstrap_mean(groups[name][1]).mean for name in names}
    return Standing(
        schedule=schedule,
        means={name: bootstrap_mean(groups[name][0]) for name in names},
        differences=differences,
        vetoes=find_vetoes(differences, references, objective, is_final=is_final),
    )


def find_vetoes(
    differences: Mapping[str, Interval],
    references: Mapping[str, float],
    objective: str,
    *,
    is_final: bool,
) -> tuple[str, ...]:
    """Return the measures that a candidate makes worse than they may be.

    Args:
        differences: candidate less the schedule in use.
        references: means of the schedule in use.
        objective: the measure that has to rise, which has no veto.
        is_final: a mean beyond the tolerance is enough. Before, on few groups, the whole interval
            has to lie beyond it.
    """
    found = []
    for name, difference in differences.items():
        measure = MEASURES[name]
        sign = 1.0 if measure.is_better == "larger" else -1.0
        tolerance = measure.tolerance * (abs(references[name]) if measure.is_relative else 1.0)
        hopeful = max(sign * difference.low, sign * difference.high)
        if (sign * difference.mean if is_final else hopeful) < -tolerance and name != objective:
            found.append(name)
    return tuple(found)


def measure_means(pairs: Sequence[EvaluatedPair]) -> dict[str, Interval]:
    """Return the mean of each measure over groups."""
    grouped = {name: _group(pairs, pairs, name)[0] for name in MEASURES}
    return {name: bootstrap_mean(values) for name, values in grouped.items() if values}


def _group(
    own: Sequence[EvaluatedPair], before: Sequence[EvaluatedPair], name: str
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return the values of a measure by group, of groups for which both sides have some."""
    sides = []
    for pairs in (own, before):
        values: dict[str, list[float]] = {}
        for pair in pairs:
            value = MEASURES[name].read(pair)
            if value is not None:
                values.setdefault(pair.group_id, []).append(value)
        sides.append(values)
    both = sides[0].keys() & sides[1].keys()
    first, second = ({group: side[group] for group in both} for side in sides)
    return first, second
