"""What the coupled model must equal: the stock model at the ends, the literal form in between."""

from dataclasses import replace

import pytest
import torch
from diffusers import FluxTransformer2DModel

from coupled_core.coupling.install import coupled_attention, coupling_kwargs
from coupled_core.coupling.processors import CoupledProcessor
from tests.unit.coupling.literal_form import LiteralLogBias, LiteralTwoBranches
from tests.unit.coupling.small_flux import (
    NUM_TEXT,
    Inputs,
    relative_error,
    run_coupled,
    run_stock,
    run_with_text,
)

EXACT = 1e-10


def install_literal_form(transformer: FluxTransformer2DModel) -> None:
    processors: dict[str, CoupledProcessor] = {
        name: LiteralTwoBranches() if name.startswith("single_") else LiteralLogBias()
        for name in transformer.attn_processors
    }
    transformer.set_attn_processor(processors)


def test_beta_0_is_the_stock_model_with_the_background_text(
    transformer: FluxTransformer2DModel, inputs: Inputs
) -> None:
    with coupled_attention(transformer, "log_bias"):
        coupled = run_coupled(transformer, inputs, 0.0)
    assert relative_error(coupled, run_stock(transformer, inputs, inputs.background)) < EXACT


def test_beta_1_is_the_stock_model_with_the_entity_text(
    transformer: FluxTransformer2DModel, inputs: Inputs
) -> None:
    with coupled_attention(transformer, "log_bias"):
        coupled = run_coupled(transformer, inputs, 1.0)
    assert relative_error(coupled, run_stock(transformer, inputs, inputs.entity)) < EXACT


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.5, 1.0])
def test_two_identical_texts_are_one_text_at_any_beta(
    transformer: FluxTransformer2DModel, inputs: Inputs, beta: float
) -> None:
    same = replace(inputs, entity=inputs.background)
    with coupled_attention(transformer, "log_bias"):
        coupled = run_coupled(transformer, same, beta)
    assert relative_error(coupled, run_stock(transformer, same, inputs.background)) < EXACT


def test_key_scale_misses_the_stock_model_by_far_more_than_rounding(
    transformer: FluxTransformer2DModel, inputs: Inputs
) -> None:
    """A key times zero still has weight exp(0), so the published form reduces to no stock model."""
    same = replace(inputs, entity=inputs.background)
    with coupled_attention(transformer, "key_scale"):
        at_0, at_1, halfway = (
            run_coupled(transformer, given, beta)
            for given, beta in ((inputs, 0.0), (inputs, 1.0), (same, 0.5))
        )
    background = run_stock(transformer, inputs, inputs.background)
    errors = [
        relative_error(at_0, background),
        relative_error(at_1, run_stock(transformer, inputs, inputs.entity)),
        relative_error(halfway, background),
    ]
    print("key_scale misses by", [f"{e:.3f}" for e in errors])
    assert all(0.005 < error < 1.0 for error in errors)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, EXACT), (torch.float32, 1e-5)])
@pytest.mark.parametrize("beta", [0.0, 1e-6, 0.2, 0.7, 1.0])
def test_merged_attention_equals_the_literal_two_branch_form(
    transformer: FluxTransformer2DModel,
    inputs: Inputs,
    dtype: torch.dtype,
    tolerance: float,
    beta: float,
) -> None:
    transformer, inputs = transformer.to(dtype), inputs.to(dtype)
    with coupled_attention(transformer, "log_bias"):
        merged = run_coupled(transformer, inputs, beta)
    install_literal_form(transformer)
    assert relative_error(merged, run_coupled(transformer, inputs, beta)) < tolerance


def test_gradients_in_beta_equal_those_of_the_literal_form(
    transformer: FluxTransformer2DModel, inputs: Inputs
) -> None:
    def gradient() -> torch.Tensor:
        beta = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
        (derivative,) = torch.autograd.grad(
            run_coupled(transformer, inputs, beta).square().sum(), beta
        )
        return derivative

    with coupled_attention(transformer, "log_bias"):
        merged = gradient()
    install_literal_form(transformer)
    assert relative_error(merged, gradient()) < 1e-8


@pytest.mark.parametrize("mode", ["log_bias", "key_scale"])
@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_gradients_in_beta_equal_finite_differences_also_at_the_ends(
    transformer: FluxTransformer2DModel, inputs: Inputs, mode: str, beta: float
) -> None:
    weight = torch.tensor(beta, dtype=torch.float64, requires_grad=True)
    step = -1e-4 if beta == 1.0 else 1e-4
    with coupled_attention(transformer, mode):  # type: ignore[arg-type]
        (gradient,) = torch.autograd.grad(run_coupled(transformer, inputs, weight).sum(), weight)
        values = [float(run_coupled(transformer, inputs, beta + k * step).sum()) for k in range(3)]
    one_sided = (-3 * values[0] + 4 * values[1] - values[2]) / (2 * step)
    assert float(gradient) == pytest.approx(one_sided, rel=5e-3)


def test_each_row_of_a_batch_can_have_its_own_beta(
    transformer: FluxTransformer2DModel, inputs: Inputs
) -> None:
    betas = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)
    for mode in ("log_bias", "key_scale"):
        with coupled_attention(transformer, mode):
            together = run_coupled(transformer, inputs, betas)
            for row, beta in enumerate(betas):
                alone = run_coupled(transformer, inputs, beta)
                assert relative_error(together[row], alone[row]) < EXACT


def test_text_streams_may_differ_in_length(
    transformer: FluxTransformer2DModel, inputs: Inputs
) -> None:
    short = inputs.entity[:, :2]
    text = torch.cat([inputs.background, short], dim=1)
    with coupled_attention(transformer, "log_bias"):
        at_1 = run_with_text(
            transformer, inputs, text, coupling_kwargs(torch.tensor(1.0), NUM_TEXT, 2)
        )
    assert relative_error(at_1, run_stock(transformer, inputs, short)) < EXACT
