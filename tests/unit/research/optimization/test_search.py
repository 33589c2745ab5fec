"""The search on functions whose optimum is known."""

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from coupled_core.errors import ConfigError
from coupled_core.research.methods.method import Knob, Knobs
from coupled_core.research.optimization.search import (
    EvaluateAll,
    Evaluation,
    SearchResult,
    optimise,
)

SPACE = (Knob("x", -2.0, 2.0, 0.0), Knob("y", 0.0, 10.0, 9.0))


def peak(knobs: Knobs) -> float:
    """Largest, 5, at x = 1.2, y = 3; valleys are curved."""
    x, y = knobs["x"] - 1.2, (knobs["y"] - 3.0) / 5.0
    return 5.0 - x**2 - 4.0 * (y - 0.3 * x**2) ** 2


class Counted:
    """A function that knows how often it was called, and dies at a given call."""

    def __init__(self, function: Callable[[Knobs], float], dies_at: int | None = None) -> None:
        self.calls, self._function, self._dies_at = 0, function, dies_at

    def __call__(self, knobs: Knobs) -> float:
        self.calls += 1
        if self.calls == self._dies_at:
            raise KeyboardInterrupt
        return self._function(knobs)


def search(
    path: Path, objective: Callable[[Knobs], float] = peak, budget: int = 60
) -> SearchResult:
    history = path / "history.jsonl"
    return optimise(SPACE, one_by_one(objective), budget, seed=7, history_path=history)


def one_by_one(objective: Callable[[Knobs], float]) -> EvaluateAll:
    return lambda candidates: map(objective, candidates)


def test_the_optimum_of_a_known_function_is_found(tmp_path: Path) -> None:
    found = search(tmp_path, budget=150)
    assert found.best_objective == pytest.approx(5.0, abs=0.01)
    assert found.best_knobs["x"] == pytest.approx(1.2, abs=0.1)
    assert found.best_knobs["y"] == pytest.approx(3.0, abs=0.3)


def test_an_optimum_on_the_edge_of_the_box_is_found(tmp_path: Path) -> None:
    found = search(tmp_path, lambda knobs: knobs["x"] - knobs["y"], budget=150)
    assert found.best_knobs["x"] == pytest.approx(2.0, abs=0.05)
    assert found.best_knobs["y"] == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("best", [-2.0, -0.7, 1.99])
def test_one_knob_alone_is_searched_too_across_all_of_its_range(
    tmp_path: Path, best: float
) -> None:
    path = tmp_path / "h.jsonl"
    found = optimise(
        SPACE[:1], one_by_one(lambda k: -abs(k["x"] - best)), 60, seed=7, history_path=path
    )
    assert found.best_knobs["x"] == pytest.approx(best, abs=0.05)


def test_the_defaults_come_first_and_the_budget_is_kept(tmp_path: Path) -> None:
    counted = Counted(peak)
    found = search(tmp_path, counted, budget=17)
    assert dict(found.history[0].knobs) == {"x": 0.0, "y": 9.0}
    assert counted.calls == len(found.history) == 17
    assert found.best_objective >= found.history[0].objective


@pytest.mark.parametrize("dies_at", [1, 2, 8, 9, 23])
def test_a_search_that_died_anywhere_goes_on_to_the_same_end(tmp_path: Path, dies_at: int) -> None:
    (tmp_path / "a").mkdir()
    whole = search(tmp_path / "a", budget=30)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, Counted(peak, dies_at), budget=30)
    rest = Counted(peak)
    assert search(tmp_path, rest, budget=30) == whole
    assert rest.calls == 30 - (dies_at - 1)


def test_a_line_that_was_cut_by_a_kill_is_evaluated_again(tmp_path: Path) -> None:
    whole = search(tmp_path, budget=12)
    path = tmp_path / "history.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    rest = Counted(peak)
    assert search(tmp_path, rest, budget=12) == whole
    assert rest.calls == 1
    assert len(path.read_text().splitlines()) == 13  # a header and 12 evaluations


def test_a_larger_budget_goes_on_as_if_it_had_been_given_at_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    search(tmp_path, budget=9)
    assert search(tmp_path, budget=33) == search(tmp_path / "a", budget=33)


def test_candidates_of_a_generation_can_be_evaluated_side_by_side(tmp_path: Path) -> None:
    widths: list[int] = []

    def side_by_side(candidates: Sequence[Knobs]) -> Iterable[float]:
        widths.append(len(candidates))
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(peak, candidates))

    path = tmp_path / "parallel.jsonl"
    found = optimise(SPACE, side_by_side, 20, seed=7, history_path=path)
    assert found == search(tmp_path, budget=20)
    assert widths == [1, 6, 6, 6, 1]


def test_whole_numbers_are_tried_once_each(tmp_path: Path) -> None:
    counted = Counted(lambda knobs: -abs(knobs["steps"] - 7.0))
    space = (Knob("steps", 0, 12, 2, integer=True),)
    found = optimise(space, one_by_one(counted), 40, seed=1, history_path=tmp_path / "h.jsonl")
    assert found.best_knobs == {"steps": 7.0}
    assert counted.calls <= 13


def test_without_knobs_there_is_one_candidate(tmp_path: Path) -> None:
    found = optimise((), one_by_one(lambda _: 4.0), 10, seed=1, history_path=tmp_path / "h.jsonl")
    assert [(dict(e.knobs), e.objective) for e in found.history] == [({}, 4.0)]


def test_a_listener_hears_old_and_new_evaluations_in_order(tmp_path: Path) -> None:
    search(tmp_path, budget=5)
    heard: list[Evaluation] = []
    found = optimise(
        SPACE,
        one_by_one(peak),
        8,
        seed=7,
        history_path=tmp_path / "history.jsonl",
        on_evaluation=heard.append,
    )
    assert tuple(heard) == found.history
    assert [evaluation.index for evaluation in heard] == list(range(8))


def test_a_search_leaves_numpys_global_random_numbers_alone(tmp_path: Path) -> None:
    np.random.seed(5)
    expected = np.random.random()
    np.random.seed(5)
    whole = search(tmp_path, budget=20)
    assert np.random.random() == expected
    (tmp_path / "a").mkdir()

    def drawing(knobs: Knobs) -> float:
        np.random.random()
        return peak(knobs)

    assert search(tmp_path / "a", drawing, budget=20) == whole


def test_the_history_of_another_search_is_refused(tmp_path: Path) -> None:
    search(tmp_path, budget=3)
    with pytest.raises(ConfigError, match="another search"):
        optimise(SPACE, one_by_one(peak), 3, seed=8, history_path=tmp_path / "history.jsonl")


def test_a_history_that_was_changed_is_refused(tmp_path: Path) -> None:
    search(tmp_path, budget=4)
    path = tmp_path / "history.jsonl"
    lines = path.read_text().splitlines()
    changed = json.loads(lines[3])
    changed["knobs"]["x"] += 0.5
    path.write_text("\n".join([*lines[:3], json.dumps(changed), *lines[4:]]) + "\n")
    with pytest.raises(ConfigError, match="evaluation 2 was of"):
        search(tmp_path, budget=4)


def test_an_objective_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a finite number"):
        search(tmp_path, lambda _: float("nan"))
