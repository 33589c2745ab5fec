from collections.abc import Mapping

import pytest
import torch

from coupled_core.research.methods.flow_edit import draw_noises
from coupled_core.research.methods.method import Method
from tests.unit.generation.tiny_pipeline import build_sample
from tests.unit.research.methods.small_methods import (
    largest_difference,
    mean_difference,
    run_sample,
    with_one_prompt,
)


@pytest.mark.parametrize("n_avg", [1, 2])
def test_identical_prompts_return_image_0(methods: Mapping[str, Method], n_avg: int) -> None:
    images = run_sample(methods["flowedit"], with_one_prompt(3), n_max=1.0, n_avg=n_avg)
    assert largest_difference(images, images[:1]) <= 1


def test_identical_prompts_return_image_0_of_a_guided_model_at_equal_guidance(
    guided_methods: Mapping[str, Method],
) -> None:
    same = {"n_max": 1.0, "source_guidance": 3.0, "target_guidance": 3.0}
    images = run_sample(guided_methods["flowedit"], with_one_prompt(), **same)
    assert largest_difference(images[0], images[1]) <= 1
    other = run_sample(
        guided_methods["flowedit"], with_one_prompt(), **{**same, "target_guidance": 9.0}
    )
    assert largest_difference(other[0], other[1]) > 1, "the scales do reach the model"


def test_no_edited_steps_return_image_0(methods: Mapping[str, Method]) -> None:
    images = run_sample(methods["flowedit"], build_sample(0, 3), n_max=0.0)
    assert largest_difference(images, images[:1]) == 0


def test_more_edited_steps_change_more(methods: Mapping[str, Method]) -> None:
    images = [run_sample(methods["flowedit"], build_sample(0), n_max=n) for n in (0.4, 1.0)]
    few, all_steps = (mean_difference(one[0], one[1]) for one in images)
    assert 0 < few < all_steps


def test_noises_are_new_at_each_step_and_each_samples_own() -> None:
    like = torch.zeros(2, 4, 3)
    both = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    first, second = draw_noises(both, like), draw_noises(both, like)
    assert not torch.equal(first, second)
    alone = draw_noises([torch.Generator().manual_seed(2)], like[:1])
    assert torch.equal(first[1], alone[0])
