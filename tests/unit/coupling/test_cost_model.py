"""Counted operations against the formula, at the miniature's geometry."""

import pytest
import torch
from diffusers import FluxTransformer2DModel
from torch.utils.flop_counter import FlopCounterMode

from coupled_core.coupling.cost_model import (
    Geometry,
    predict_group_ratio,
    predict_region_ratio,
    predict_step_flops,
    predict_tied_step_flops,
)
from coupled_core.coupling.install import coupled_attention, coupling_kwargs

MINIATURE = Geometry(
    width=128, num_double_blocks=2, num_single_blocks=4, num_image_tokens=256, num_text_tokens=32
)
FLUX_DEV = Geometry(
    width=3072,
    num_double_blocks=19,
    num_single_blocks=38,
    num_image_tokens=4096,
    num_text_tokens=512,
)


@pytest.fixture(scope="module")
def miniature() -> FluxTransformer2DModel:
    torch.manual_seed(0)
    return FluxTransformer2DModel(
        in_channels=16,
        num_layers=2,
        num_single_layers=4,
        attention_head_dim=32,
        num_attention_heads=4,
        joint_attention_dim=128,
        pooled_projection_dim=128,
        axes_dims_rope=(8, 12, 12),
    ).eval()


@torch.no_grad()
def count_step(model: FluxTransformer2DModel, num_text: int, beta: float | None) -> int:
    kwargs = (
        None if beta is None else coupling_kwargs(torch.tensor(beta), num_text // 2, num_text // 2)
    )
    with FlopCounterMode(display=False) as counter:
        model(
            hidden_states=torch.randn(1, 256, 16),
            encoder_hidden_states=torch.randn(1, num_text, 128),
            pooled_projections=torch.randn(1, 128),
            timestep=torch.tensor([0.5]),
            img_ids=torch.zeros(256, 3),
            txt_ids=torch.zeros(num_text, 3),
            joint_attention_kwargs=kwargs,
        )
    return counter.get_total_flops()


def test_counted_operations_of_a_stock_and_a_middle_step_are_the_formulas_within_a_percent(
    miniature: FluxTransformer2DModel,
) -> None:
    stock = count_step(miniature, 32, None)
    with coupled_attention(miniature, "log_bias"):
        middle = count_step(miniature, 64, 0.5)
    assert stock == pytest.approx(predict_step_flops(MINIATURE, "stock"), rel=0.01)
    assert middle == pytest.approx(predict_step_flops(MINIATURE, "merged"), rel=0.01)
    predicted = predict_step_flops(MINIATURE, "merged") / predict_step_flops(MINIATURE, "stock")
    assert middle / stock == pytest.approx(predicted, rel=0.002)


@pytest.mark.parametrize(
    ("form", "ratio"), [("merged", 1.13), ("two_attentions", 1.24), ("two_blocks", 1.71)]
)
def test_a_middle_step_of_flux_dev_costs_what_the_table_says(form: str, ratio: float) -> None:
    predicted = predict_step_flops(FLUX_DEV, form) / predict_step_flops(FLUX_DEV, "stock")  # type: ignore[arg-type]
    assert predicted == pytest.approx(ratio, abs=0.005)


@pytest.mark.parametrize(
    ("steps", "pair", "four"),
    [((0, 50, 0), 1.13, 1.13), ((15, 20, 15), 0.90, 0.83), ((25, 20, 5), 0.80, 0.68)],
)
def test_a_group_with_shared_ends_is_cheaper_than_its_images_alone(
    steps: tuple[int, int, int], pair: float, four: float
) -> None:
    assert predict_group_ratio(FLUX_DEV, *steps, 2) == pytest.approx(pair, abs=0.006)
    assert predict_group_ratio(FLUX_DEV, *steps, 4) == pytest.approx(four, abs=0.006)


def test_a_tied_step_costs_the_background_and_the_regions_tokens() -> None:
    stock = predict_step_flops(MINIATURE, "stock")
    assert predict_tied_step_flops(MINIATURE, 2, 256) == 3 * stock
    quarter = predict_tied_step_flops(MINIATURE, 2, 64) / stock
    # Tokens and their queries are a third of 288; their keys are all of them.
    assert quarter == pytest.approx(1 + 2 * (32 + 64) / (32 + 256))
    # FLUX.1-dev, a fifth of the image inside, four steps of twenty to find out which.
    pair, four = (
        predict_region_ratio(FLUX_DEV, 4, 16, num_images=n, num_inside=819) for n in (2, 4)
    )
    assert 0.93 < pair < 0.95
    assert 0.67 < four < 0.69
