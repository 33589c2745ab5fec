"""Black-box search by CMA-ES: which knobs make an objective largest; each evaluation is kept."""

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from coupled_core.config import fingerprint
from coupled_core.errors import ConfigError
from coupled_core.research.methods.method import Knob, Knobs

_FORMAT = 1


@dataclass(frozen=True)
class Evaluation:
    """One candidate and what it scored."""

    index: int
    """Number of the candidate, from 0, in the order in which the search asked."""
    knobs: Mapping[str, float]
    objective: float


class History:
    """The evaluations of one search, on disk; survives a kill between any two bytes."""

    def __init__(self, path: Path, evaluations: Sequence[Evaluation]) -> None:
        self.path = path
        self._evaluations = list(evaluations)

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """All evaluations, by index."""
        return tuple(self._evaluations)

    def append(self, evaluation: Evaluation) -> None:
        """Add one and wait until the disk has it."""
        if evaluation.index != len(self._evaluations):
            raise ValueError(f"expected evaluation {len(self._evaluations)}, got {evaluation}")
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(evaluation)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._evaluations.append(evaluation)


def open_history(path: Path, space: Sequence[Knob], seed: int) -> History:
    """Open or begin the history of a search.

    Raises:
        ConfigError: the file belongs to another search, or is not a history.
    """
    header = {"format": _FORMAT, "search": _name_search(space, seed)}
    lines = _read_whole_lines(path)
    if not lines:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, [json.dumps(header)])
        return History(path, [])
    if _parse(path, lines[0]) != header:
        raise ConfigError(
            f"{path} is the history of another search (other knobs, ranges or seed): remove it, or "
            "write this one somewhere else"
        )
    _replace(path, lines)  # without the half line that a kill may have left
    return History(path, [Evaluation(**_parse(path, line)) for line in lines[1:]])


def _name_search(space: Sequence[Knob], seed: int) -> str:
    ranges = [[k.name, k.low, k.high, k.default, k.integer] for k in space]
    return fingerprint({"space": ranges, "seed": seed})


def _read_whole_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    whole, _, _ = path.read_text(encoding="utf-8").rpartition("\n")
    return whole.splitlines()


def _replace(path: Path, lines: Sequence[str]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    temporary.replace(path)


def _parse(path: Path, line: str) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except ValueError as error:
        raise ConfigError(f"{path} is damaged: expected JSON, got {line[:80]!r}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} is damaged: expected an object, got {line[:80]!r}")
    return content


INITIAL_SPREAD = 0.25
"""Standard deviation of the first generation, in the unit box."""

EvaluateAll = Callable[[Sequence[Knobs]], Iterable[float]]
"""Returns the objective of each candidate, in order; may evaluate them side by side."""


@dataclass(frozen=True)
class SearchResult:
    """What a search found."""

    best_knobs: Knobs
    best_objective: float
    history: tuple[Evaluation, ...]
    """Every evaluation, in order; the first is that of the defaults."""


def optimise(
    space: Sequence[Knob],
    evaluate_all: EvaluateAll,
    budget: int,
    *,
    seed: int,
    history_path: Path,
    on_evaluation: Callable[[Evaluation], None] | None = None,
) -> SearchResult:
    """Search for the knobs with the largest objective.

    The first evaluation is that of the defaults, so the result is never worse than they are. A
    candidate that was asked for before, as happens with whole numbers, is answered from memory.

    Args:
        space: the knobs; without any, the one candidate there is is evaluated.
        evaluate_all: evaluates the candidates of one generation; an objective is finite, and the
            same for the same knobs.
        budget: candidates in all, those of earlier attempts included. The search ends earlier
            where CMA-ES sees that nothing more is to be gained.
        seed: of the search.
        history_path: where evaluations are kept. The same call continues a search that was killed,
            with a larger budget also one that ended.
        on_evaluation: told of each evaluation, those of earlier attempts too.

    Raises:
        ConfigError: the history there is that of another search.
    """
    if budget < 1:
        raise ConfigError(f"a search needs a budget of at least 1 evaluation, got {budget}")
    history = open_history(history_path, space, seed)
    told = _Answers(history, evaluate_all, on_evaluation)
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
        evaluate_all: EvaluateAll,
        on_evaluation: Callable[[Evaluation], None] | None,
    ) -> None:
        self._history, self._evaluate_all = history, evaluate_all
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
        fresh = iter(self._evaluate_all(list(new.values())) if new else ())
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
