"""What the coupled model must equal: the stock model at the ends, the literal form in between."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from coupled_core.coupling.attention import TextWeights
from coupled_core.coupling.weighted_attention import TextLayout
from coupled_core.generation.families.family import Family
from coupled_core.generation.families.flux1 import Flux1
from coupled_core.records import CouplingMode
from tests.unit.coupling.literal_form import LiteralAttention
from tests.unit.coupling.small_flux import (
    NUM_TEXT,
    Inputs,
    build_family,
    couple,
    install,
    relative_error,
    run_coupled,
    run_stock,
    run_with_text,
    weigh,
)

EXACT = 1e-10


def install_literal_form(family: Family) -> LiteralAttention:
    attention = LiteralAttention("log_bias")
    install(family, attention)
    return attention


def test_beta_0_is_the_stock_model_with_the_background_text(family: Family, inputs: Inputs) -> None:
    with couple(family, "log_bias") as attention:
        coupled = run_coupled(family, inputs, 0.0, attention)
    assert relative_error(coupled, run_stock(family, inputs, inputs.background)) < EXACT


def test_beta_1_is_the_stock_model_with_the_entity_text(family: Family, inputs: Inputs) -> None:
    with couple(family, "log_bias") as attention:
        coupled = run_coupled(family, inputs, 1.0, attention)
    assert relative_error(coupled, run_stock(family, inputs, inputs.entity)) < EXACT


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.5, 1.0])
def test_two_identical_texts_are_one_text_at_any_beta(
    family: Family, inputs: Inputs, beta: float
) -> None:
    same = replace(inputs, entity=inputs.background)
    with couple(family, "log_bias") as attention:
        coupled = run_coupled(family, same, beta, attention)
    assert relative_error(coupled, run_stock(family, same, inputs.background)) < EXACT


def test_key_scale_misses_the_stock_model_by_far_more_than_rounding(
    family: Family, inputs: Inputs
) -> None:
    """A key times zero still has weight exp(0), so the published form reduces to no stock model."""
    same = replace(inputs, entity=inputs.background)
    with couple(family, "key_scale") as attention:
        at_0, at_1, halfway = (
            run_coupled(family, given, beta, attention)
            for given, beta in ((inputs, 0.0), (inputs, 1.0), (same, 0.5))
        )
    background = run_stock(family, inputs, inputs.background)
    errors = [
        relative_error(at_0, background),
        relative_error(at_1, run_stock(family, inputs, inputs.entity)),
        relative_error(halfway, background),
    ]
    print("key_scale misses by", [f"{e:.3f}" for e in errors])
    assert all(0.005 < error < 1.0 for error in errors)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, EXACT), (torch.float32, 1e-5)])
@pytest.mark.parametrize("beta", [0.0, 1e-6, 0.2, 0.7, 1.0])
def test_merged_attention_equals_the_literal_two_branch_form(
    family: Family,
    inputs: Inputs,
    dtype: torch.dtype,
    tolerance: float,
    beta: float,
) -> None:
    family.transformer.to(dtype)
    inputs = inputs.to(dtype)
    with couple(family, "log_bias") as attention:
        merged = run_coupled(family, inputs, beta, attention)
    attention = install_literal_form(family)
    assert relative_error(merged, run_coupled(family, inputs, beta, attention)) < tolerance


def test_gradients_in_beta_equal_those_of_the_literal_form(family: Family, inputs: Inputs) -> None:
    def gradient() -> torch.Tensor:
        beta = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
        (derivative,) = torch.autograd.grad(
            run_coupled(family, inputs, beta, attention).square().sum(), beta
        )
        return derivative

    with couple(family, "log_bias") as attention:
        merged = gradient()
    attention = install_literal_form(family)
    assert relative_error(merged, gradient()) < 1e-8


@pytest.mark.parametrize("mode", ["log_bias", "key_scale"])
@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_gradients_in_beta_equal_finite_differences_also_at_the_ends(
    family: Family, inputs: Inputs, mode: str, beta: float
) -> None:
    weight = torch.tensor(beta, dtype=torch.float64, requires_grad=True)
    # Where their background text falls silent, the other small models bend sharply: log_bias keeps
    # exact gradients there, but a difference over 1e-4 is off by up to a third. Their positions are
    # rounded to float32, so it cannot be over much less.
    is_sharp = mode == "log_bias" and beta == 1.0 and not isinstance(family, Flux1)
    step = 1e-4 if beta < 1.0 else -1e-5 if is_sharp else -1e-4
    with couple(family, mode) as attention:  # type: ignore[arg-type]
        (gradient,) = torch.autograd.grad(
            run_coupled(family, inputs, weight, attention).sum(), weight
        )
        values = [
            float(run_coupled(family, inputs, beta + k * step, attention).sum()) for k in range(3)
        ]
    one_sided = (-3 * values[0] + 4 * values[1] - values[2]) / (2 * step)
    assert float(gradient) == pytest.approx(one_sided, rel=1e-2 if is_sharp else 5e-3)


def test_each_row_of_a_batch_can_have_its_own_beta(family: Family, inputs: Inputs) -> None:
    betas = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)
    for mode in ("log_bias", "key_scale"):
        with couple(family, mode) as attention:
            together = run_coupled(family, inputs, betas, attention)
            for row, beta in enumerate(betas):
                alone = run_coupled(family, inputs, beta, attention)
                assert relative_error(together[row], alone[row]) < EXACT


def test_text_streams_may_differ_in_length(family: Family, inputs: Inputs) -> None:
    short = inputs.entity[:, :2]
    text = torch.cat([inputs.background, short], dim=1)
    with couple(family, "log_bias") as attention:
        attention.weights = weigh(1.0, num_entity=2)
        at_1 = run_with_text(family, inputs, text, attention.weights)
    assert relative_error(at_1, run_stock(family, inputs, short)) < EXACT


@pytest.mark.parametrize("mode", ["log_bias", "key_scale"])
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_padded_texts_that_are_masked_are_the_texts_themselves(
    inputs: Inputs, mode: CouplingMode, beta: float
) -> None:
    """Of Qwen-Image, whose texts differ in length: each row of a batch against the row alone."""
    family, lengths = build_family("qwen"), ((6, 2), (3, 6), (4, 4))
    mask = torch.tensor([[i < n for n in pair for i in range(NUM_TEXT)] for pair in lengths])
    noisy = [
        rows + 100 * ~kept.unsqueeze(-1)
        for rows, kept in zip((inputs.background, inputs.entity), mask.chunk(2, 1), strict=True)
    ]
    with couple(family, mode) as attention:
        attention.weights, attention.mask = weigh(beta), mask
        text = torch.cat(noisy, dim=1)
        together = run_with_text(family, inputs, text, attention.weights, mask=mask)
        for row, (of_background, of_entity) in enumerate(lengths):
            layout = TextLayout(of_background, of_entity)
            attention.weights, attention.mask = TextWeights(layout, torch.tensor(beta)), None
            texts = (inputs.background[:, :of_background], inputs.entity[:, :of_entity])
            alone = run_with_text(family, inputs, torch.cat(texts, dim=1), attention.weights)
            assert relative_error(together[row], alone[row]) < EXACT


def test_gradients_in_beta_do_not_see_masked_text(inputs: Inputs) -> None:
    family = build_family("qwen")
    mask = torch.ones(3, 2 * NUM_TEXT, dtype=torch.bool)
    mask[:, -2:] = False
    weight = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)

    def gradient(text: torch.Tensor, weights: TextWeights, rows: torch.Tensor | None) -> Tensor:
        attention.weights, attention.mask = weights, rows
        made = run_with_text(family, inputs, text, weights, mask=rows)
        return torch.autograd.grad(made.sum(), weight)[0]

    text = torch.cat([inputs.background, inputs.entity], dim=1)
    with couple(family, "log_bias") as attention:
        masked = gradient(text, weigh(weight), mask)
        short = gradient(text[:, :-2], weigh(weight, NUM_TEXT - 2), None)
    assert relative_error(masked, short) < 1e-8


@pytest.mark.parametrize("name", ["flux2", "flux2-dev", "qwen"])
def test_a_text_that_does_not_restart_its_positions_is_wrong(name: str, inputs: Inputs) -> None:
    family = build_family(name)
    text = torch.cat([inputs.background, inputs.entity], dim=1)
    with couple(family, "log_bias") as attention:
        attention.weights = weigh(1.0)
        continued = run_with_text(family, inputs, text)
    assert relative_error(continued, run_stock(family, inputs, inputs.entity)) > 1e-3
