from collections.abc import Mapping

import pytest

from coupled_core.research.methods.method import Method
from tests.unit.generation.tiny_pipeline import build_sample
from tests.unit.research.methods.small_methods import (
    largest_difference,
    mean_difference,
    run_sample,
)


def test_full_strength_at_all_steps_gives_equal_images(methods: Mapping[str, Method]) -> None:
    images = run_sample(methods["latent-pull"], build_sample(0, 3), strength=1.0, stop=1.0)
    assert largest_difference(images, images[:1]) == 0


@pytest.mark.parametrize("knobs", [{"strength": 0.0, "stop": 1.0}, {"strength": 1.0, "stop": 0.0}])
def test_no_strength_or_no_steps_is_the_random_seed(
    methods: Mapping[str, Method], knobs: dict[str, float]
) -> None:
    sample = build_sample(0, 3)
    images = run_sample(methods["latent-pull"], sample, **knobs)
    assert largest_difference(images, run_sample(methods["random-seed"], sample)) <= 1


def test_a_stronger_pull_leaves_less_difference(methods: Mapping[str, Method]) -> None:
    images = [
        run_sample(methods["latent-pull"], build_sample(0), strength=strength, stop=1.0)
        for strength in (0.2, 0.8)
    ]
    weak, strong = (mean_difference(one[0], one[1]) for one in images)
    assert 0 < strong < weak
