"""A judge of entities that is none of the scorers."""

import numpy as np

from coupled_core.research.drawn_world.render import draw_scene
from coupled_core.research.drawn_world.scenes import Scene, sample_scene
from coupled_core.research.training.entity_judge import load_entity_judge


def draw(entity: str, colour: str) -> np.ndarray:
    drawn = sample_scene(np.random.default_rng(3), dependence=0.0)
    scene = Scene(drawn.background, drawn.light, drawn.layout, 0, entity, colour)
    return draw_scene(scene)[0]


def test_an_image_is_right_when_it_shows_the_entity_in_its_colour() -> None:
    judge = load_entity_judge("miniature")
    assert judge is not None
    images = [draw("umbrella", "red")] * 3
    prompts = ("a red umbrella", "A blue umbrella.", "a red turtle")
    assert judge.judge(images, prompts) == (True, False, False)


def test_it_says_nothing_about_what_it_does_not_know() -> None:
    judge = load_entity_judge("miniature")
    assert judge is not None
    image = draw("umbrella", "red")
    large = np.kron(image, np.ones((2, 2, 1), np.uint8))
    assert judge.judge([image, large], ("a red locomotive", "a red umbrella")) == (None, None)


def test_other_models_have_no_judge_yet() -> None:
    assert load_entity_judge("black-forest-labs/FLUX.1-dev") is None
