from collections.abc import Mapping

import pytest
import torch

from coupled_core.research.methods.method import Method
from coupled_core.research.methods.rf_inversion import invert
from coupled_core.research.methods.stock import StockModel, StockRun
from tests.unit.generation.tiny_pipeline import SIZE_PX, build_sample
from tests.unit.research.methods.small_methods import (
    largest_difference,
    mean_difference,
    run_sample,
)


@pytest.mark.parametrize("gamma", [0.0, 0.5])
def test_eta_of_1_throughout_returns_image_0(methods: Mapping[str, Method], gamma: float) -> None:
    images = run_sample(
        methods["rf-inversion"], build_sample(0, 3), gamma=gamma, eta=1.0, start=0.0, stop=1.0
    )
    assert largest_difference(images, images[:1]) <= 1


@torch.no_grad()
def test_gamma_of_1_inverts_to_the_noise_of_the_sample(model: StockModel) -> None:
    run = StockRun(model, [build_sample(0), build_sample(1)], SIZE_PX, SIZE_PX)
    inverted = invert(run, run.denoise_sources(), gamma=1.0)
    torch.testing.assert_close(inverted, run.noise, rtol=0, atol=1e-4)
    assert (invert(run, run.denoise_sources(), gamma=0.5) - run.noise).abs().max() > 0.1


def test_gamma_of_1_without_a_pull_is_the_random_seed(methods: Mapping[str, Method]) -> None:
    sample = build_sample(0, 3)
    images = run_sample(methods["rf-inversion"], sample, gamma=1.0, eta=0.0)
    assert largest_difference(images, run_sample(methods["random-seed"], sample)) <= 1


def test_a_longer_pull_keeps_more_of_image_0(methods: Mapping[str, Method]) -> None:
    images = [
        run_sample(methods["rf-inversion"], build_sample(0), stop=stop) for stop in (0.2, 0.8)
    ]
    short, long = (mean_difference(one[0], one[1]) for one in images)
    assert long < short
