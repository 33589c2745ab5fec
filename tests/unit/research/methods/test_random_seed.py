from collections.abc import Mapping

import numpy as np
import pytest
import torch

from coupled_core.research.methods.method import Method
from coupled_core.research.methods.stock_run import StockMethod
from tests.unit.generation.tiny_pipeline import SIZE_PX, build_sample
from tests.unit.research.methods.small_methods import NUM_STEPS, largest_difference, run_sample


@pytest.mark.parametrize("guided", [False, True])
def test_it_is_the_stock_pipelines_own_output(
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
