from collections.abc import Mapping

from coupled_core.research.methods.method import Method
from tests.unit.generation.tiny_pipeline import build_sample
from tests.unit.research.methods.small_methods import (
    largest_difference,
    mean_difference,
    run_sample,
    with_prompts,
)


def test_a_switch_at_0_is_the_random_seed(methods: Mapping[str, Method]) -> None:
    sample = build_sample(0, 3)
    switched = run_sample(methods["prompt-switch"], sample, switch=0.0)
    assert largest_difference(switched, run_sample(methods["random-seed"], sample)) <= 1


def test_a_switch_at_1_gives_the_background_to_every_image(methods: Mapping[str, Method]) -> None:
    sample = build_sample(0)
    images = run_sample(methods["prompt-switch"], sample, switch=1.0)
    assert largest_difference(images[0], images[1]) == 0
    background = with_prompts(sample, *[sample.split.background_prompt] * 2)
    assert largest_difference(images, run_sample(methods["random-seed"], background)) <= 1


def test_a_later_switch_leaves_less_difference(methods: Mapping[str, Method]) -> None:
    images = [
        run_sample(methods["prompt-switch"], build_sample(0), switch=switch)
        for switch in (0.2, 0.8)
    ]
    early, late = (mean_difference(one[0], one[1]) for one in images)
    assert 0 < late < early
