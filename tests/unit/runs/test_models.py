"""Models are loaded once, and never two of a kind at the same time."""

import gc
import weakref

from coupled_core.config import GenerationConfig
from coupled_core.runs.models import Latest, generator_for


class _Model:
    """Something large."""


def test_equal_settings_give_the_loaded_model() -> None:
    latest = Latest(lambda _name: _Model())
    assert latest("a") is latest("a")
    assert latest("a") is not latest("b")


def test_a_model_is_let_go_before_the_next_is_loaded() -> None:
    alive: list[int] = []
    loaded: weakref.WeakSet[_Model] = weakref.WeakSet()

    def load(_name: str) -> _Model:
        gc.collect()
        alive.append(len(loaded))
        model = _Model()
        loaded.add(model)
        return model

    latest = Latest(load)
    for name in ("a", "b", "b", "a"):
        latest(name)
    assert alive == [0, 0, 0]


def test_a_load_that_fails_leaves_nothing_behind_and_is_tried_again() -> None:
    answers = [_Model(), RuntimeError("no memory"), _Model()]

    def load(_name: str) -> _Model:
        answer = answers.pop(0)
        if isinstance(answer, RuntimeError):
            raise answer
        return answer

    latest = Latest(load)
    latest("a")
    try:
        latest("b")
    except RuntimeError:
        assert isinstance(latest("b"), _Model) and answers == []


def test_another_seed_or_batch_size_needs_no_other_model() -> None:
    first = generator_for(GenerationConfig(seed=1))
    assert generator_for(GenerationConfig(seed=2, batch_size=3)) is first
