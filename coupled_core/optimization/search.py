"""Black-box search by CMA-ES: which knobs make an objective largest.

CMA-ES (Hansen 2016, arXiv:1604.00772; the author's `cma`) asks for a generation of candidates,
reads their objectives, and moves a normal distribution towards the better ones; it needs no
gradient, which Segment Anything's masks do not have. Knobs are scaled to the unit box.

A search is resumed by replaying it: the same seed asks for the same candidates, and those that the
history knows are answered from there. So nothing but readable numbers is stored.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from coupled_core.errors import ConfigError
from coupled_core.methods.method import Knob, Knobs
from coupled_core.optimization.history import Evaluation, History, open_history

INITIAL_SPREAD = 0.25
"""Standard deviation of the first generation, in the unit box."""

Objective = Callable[[Knobs], float]


class Map(Protocol):
    """Applies the objective to the candidates of a generation, like `map`, perhaps side by side."""

    def __call__(self, objective: Objective, candidates: Sequence[Knobs], /) -> Iterable[float]:
        """Return the objectives in the order of the candidates."""


@dataclass(frozen=True)
class SearchResult:
    """What a search found."""

    best_knobs: Knobs
    best_objective: float
    history: tuple[Evaluation, ...]
    """Every evaluation, in order; the first is that of the defaults."""


def optimise(
    space: Sequence[Knob],
    objective: Objective,
    budget: int,
    *,
    seed: int,
    history_path: Path,
    on_evaluation: Callable[[Evaluation], None] | None = None,
    map: Map = map,
) -> SearchResult:
    """Search for the knobs with the largest objective.

    The first evaluation is that of the defaults, so the result is never worse than they are. A
    candidate that was asked for before, as happens with whole numbers, is answered from memory.

    Args:
        space: the knobs; without any, the one candidate there is is evaluated.
        objective: finite; the same knobs give the same value.
        budget: candidates in all, those of earlier attempts included. The search ends earlier
            where CMA-ES sees that nothing more is to be gained.
        seed: of the search.
        history_path: where evaluations are kept. The same call continues a search that was killed,
            with a larger budget also one that ended.
        on_evaluation: told of each evaluation, those of earlier attempts too.
        map: evaluates the candidates of one generation.

    Raises:
        ConfigError: the history there is that of another search.
    """
    if budget < 1:
        raise ConfigError(f"a search needs a budget of at least 1 evaluation, got {budget}")
    history = open_history(history_path, space, seed)
    told = _Answers(history, objective, on_evaluation, map)
    told.answer([{knob.name: float(knob.default) for knob in space}])
    if space:
        _run_generations(space, told, budget, seed)
    best = max(told.evaluations, key=lambda e: (e.objective, -e.index))
    return SearchResult(best.knobs, best.objective, tuple(told.evaluations))


def _run_generations(space: Sequence[Knob], told: "_Answers", budget: int, seed: int) -> None:
    strategy = _begin(space, seed)
    while (left := budget - len(told.evaluations)) > 0 and not strategy.stop():
        points = strategy.ask()
        candidates = [_to_knobs(space, point) for point in points[:left]]
        objectives = told.answer(candidates)
        if len(candidates) < len(points):
            return  # half a generation moves nothing; a larger budget will ask for the rest
        strategy.tell(points, [-value for value in objectives])


class _Answers:
    """Answers candidates from the history as far as it goes, then by evaluating them."""

    def __init__(
        self,
        history: History,
        objective: Objective,
        on_evaluation: Callable[[Evaluation], None] | None,
        map: Map,
    ) -> None:
        self._history, self._objective, self._map = history, objective, map
        self._on_evaluation = on_evaluation
        self.evaluations: list[Evaluation] = []

    def answer(self, candidates: Sequence[Knobs]) -> list[float]:
        """Return the objectives of some candidates, in order."""
        start = len(self.evaluations)
        stored = self._history.evaluations[start : start + len(candidates)]
        for evaluation, candidate in zip(stored, candidates, strict=False):
            _check_same(self._history.path, evaluation, candidate)
            self._note(evaluation)
        rest = candidates[len(stored) :]
        for candidate, value in zip(rest, self._evaluate(rest), strict=True):
            evaluation = Evaluation(len(self.evaluations), dict(candidate), value)
            self._history.append(evaluation)
            self._note(evaluation)
        return [evaluation.objective for evaluation in self.evaluations[start:]]

    def _evaluate(self, candidates: Sequence[Knobs]) -> Iterator[float]:
        known = {_key(e.knobs): e.objective for e in self.evaluations}
        new = {_key(c): c for c in candidates if _key(c) not in known}
        fresh = iter(self._map(self._objective, list(new.values())) if new else ())
        for candidate in candidates:
            key = _key(candidate)
            if key not in known:
                known[key] = _checked(next(fresh), candidate)
            yield known[key]

    def _note(self, evaluation: Evaluation) -> None:
        self.evaluations.append(evaluation)
        if self._on_evaluation is not None:
            self._on_evaluation(evaluation)


def _begin(space: Sequence[Knob], seed: int) -> Any:
    import cma  # takes seconds, and only searches need it

    random = np.random.default_rng(seed)
    start = [(knob.default - knob.low) / (knob.high - knob.low) for knob in space]
    options = {
        "bounds": [0.0, 1.0],
        "randn": lambda *shape: random.standard_normal(shape),  # numpy's global state stays alone
        "seed": math.nan,  # which is how cma is told to leave it alone
        "verbose": -9,
    }
    if len(space) == 1:
        options["maxstd"] = math.inf  # cma 4.5 raises where one dimension would meet its limit
    return cma.CMAEvolutionStrategy(start, INITIAL_SPREAD, options)


def _to_knobs(space: Sequence[Knob], point: Sequence[float]) -> dict[str, float]:
    return {knob.name: _scale(knob, float(x)) for knob, x in zip(space, point, strict=True)}


def _scale(knob: Knob, x: float) -> float:
    value = knob.low + min(max(x, 0.0), 1.0) * (knob.high - knob.low)
    return float(round(value)) if knob.integer else value


def _key(knobs: Knobs) -> tuple[tuple[str, float], ...]:
    return tuple(sorted(knobs.items()))


def _checked(value: float, knobs: Knobs) -> float:
    if not math.isfinite(value):
        raise ValueError(f"the objective of {dict(knobs)} is {value}; expected a finite number")
    return float(value)


def _check_same(path: Path, evaluation: Evaluation, candidate: Knobs) -> None:
    stored = evaluation.knobs
    if set(stored) != set(candidate) or not all(
        math.isclose(stored[name], candidate[name], rel_tol=1e-6, abs_tol=1e-9)
        for name in candidate
    ):
        raise ConfigError(
            f"{path}: evaluation {evaluation.index} was of {dict(stored)}, but this search asks "
            f"for {dict(candidate)}: the history was changed, or comes from another version of cma"
        )
