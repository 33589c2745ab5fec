from collections.abc import Mapping

import pytest

from coupled_core.research.methods.method import Method
from tests.unit.generation.tiny_pipeline import build_sample
from tests.unit.research.methods.small_methods import (
    largest_difference,
    run_sample,
    with_one_prompt,
)

VARIANTS = [("p2p", {"tau_c": 1.0, "tau_s": 1.0}), ("p2p-efficient", {"tau_s": 1.0})]


@pytest.mark.parametrize(("name", "all_steps"), VARIANTS)
def test_identical_prompts_give_the_identical_images_of_the_random_seed(
    methods: Mapping[str, Method], name: str, all_steps: dict[str, float]
) -> None:
    sample = with_one_prompt(3)
    images = run_sample(methods[name], sample, **all_steps)
    assert largest_difference(images, images[:1]) <= 1
    assert largest_difference(images, run_sample(methods["random-seed"], sample)) <= 1


@pytest.mark.parametrize(("name", "all_steps"), VARIANTS)
def test_shares_of_0_are_the_random_seed(
    methods: Mapping[str, Method], name: str, all_steps: dict[str, float]
) -> None:
    sample = build_sample(1, 3)
    images = run_sample(methods[name], sample, **dict.fromkeys(all_steps, 0.0))
    assert largest_difference(images, run_sample(methods["random-seed"], sample)) == 0


def test_both_blocks_of_the_map_have_an_effect_of_their_own(methods: Mapping[str, Method]) -> None:
    sample, method = build_sample(1), methods["p2p"]
    text, image, both = (
        run_sample(method, sample, tau_c=tau_c, tau_s=tau_s)[1]
        for tau_c, tau_s in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
    )
    assert largest_difference(text, image) > 1
    assert largest_difference(text, both) > 1
    assert largest_difference(image, both) > 1
