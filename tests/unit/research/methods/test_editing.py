"""What editing image 0 is for, on a trained model: the edit stays nearer to it."""

from collections.abc import Mapping

import pytest

from coupled_core.research.methods.method import Method
from coupled_core.research.methods.vitality import read_samples
from tests.unit.research.methods.small_methods import mean_difference, run_sample

ALL_STEPS = {
    "p2p": {"tau_c": 1.0, "tau_s": 1.0},
    "p2p-efficient": {"tau_s": 1.0},
    "stable-flow": {"num_layers": 6, "stop": 1.0},
    "rf-inversion": {"eta": 0.9, "stop": 0.9},
    "flowedit": {"n_max": 0.5},
}


@pytest.mark.parametrize("name", ALL_STEPS)
def test_a_thorough_edit_is_nearer_to_image_0_than_the_random_seed_and_not_equal_to_it(
    miniature_methods: Mapping[str, Method], name: str
) -> None:
    edited, stock = 0.0, 0.0
    for sample in read_samples("miniature", 2):
        images = run_sample(miniature_methods[name], sample, **ALL_STEPS[name])
        edited += mean_difference(images[0], images[1])
        images = run_sample(miniature_methods["random-seed"], sample)
        stock += mean_difference(images[0], images[1])
    assert 1 < edited < stock
