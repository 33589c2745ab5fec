"""What editing image 0 is for, on a trained model: the edit stays nearer to it."""

from collections.abc import Mapping

import pytest

from coupled_core.records import Sample
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


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return read_samples("miniature", 2)


@pytest.fixture(scope="module")
def stock(miniature_methods: Mapping[str, Method], samples: list[Sample]) -> float:
    """How far images of the same seed are from each other, over all samples."""
    made = (run_sample(miniature_methods["random-seed"], sample) for sample in samples)
    return sum(mean_difference(images[0], images[1]) for images in made)


@pytest.mark.parametrize("name", ALL_STEPS)
def test_a_thorough_edit_is_nearer_to_image_0_than_the_random_seed_and_not_equal_to_it(
    miniature_methods: Mapping[str, Method], samples: list[Sample], stock: float, name: str
) -> None:
    edited = 0.0
    for sample in samples:
        images = run_sample(miniature_methods[name], sample, **ALL_STEPS[name])
        edited += mean_difference(images[0], images[1])
    assert 1 < edited < stock
