"""The controls: the stock pipeline itself, and what each does at the ends of its knobs."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from coupled_core.research.methods.method import Method
from coupled_core.research.methods.stock import StockMethod
from tests.unit.generation.tiny_pipeline import SIZE_PX, build_sample
from tests.unit.research.methods.small_methods import (
    NUM_STEPS,
    largest_difference,
    mean_difference,
    run_sample,
    with_prompts,
)


@pytest.mark.parametrize("guided", [False, True])
def test_the_random_seed_is_the_stock_pipelines_own_output(
    methods: Mapping[str, Method], guided_methods: Mapping[str, Method], guided: bool
) -> None:
    method = (guided_methods if guided else methods)["random-seed"]
    assert isinstance(method, StockMethod)
    sample = build_sample(3, 3)
    ours = run_sample(method, sample)
    for image, prompt in zip(ours, sample.group.prompts, strict=True):
        (stock,) = method.model.pipeline(
            prompt,
            height=SIZE_PX,
            width=SIZE_PX,
            num_inference_steps=NUM_STEPS,
            guidance_scale=3.5,
            max_sequence_length=32,
            generator=torch.Generator("cpu").manual_seed(sample.seed),
            output_type="np",
        ).images
        assert largest_difference(image, (stock * 255).round().astype(np.int64)) <= 1


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


def test_a_full_pull_at_all_steps_gives_equal_images(methods: Mapping[str, Method]) -> None:
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
