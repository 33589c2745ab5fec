"""Counted operations against the formula, at the miniature's geometry."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from coupled_core.coupling.attention import TextWeights
from coupled_core.coupling.cost_model import Geometry, predict_step_flops
from coupled_core.coupling.weighted_attention import TextLayout
from coupled_core.generation.families.family import Conditioning, Family
from coupled_core.research.cost_ratios import (
    predict_group_ratio,
    predict_region_ratio,
    predict_tied_step_flops,
)
from tests.unit.coupling.small_flux import build_family, couple

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


@torch.no_grad()
def count_step(family: Family, beta: float | None) -> int:
    texts = 1 if beta is None else 2
    weights = None if beta is None else TextWeights(TextLayout(32, 32), torch.tensor(beta))
    text = Conditioning(torch.randn(1, 32 * texts, 128), torch.randn(1, 20), weights)
    latents, frame = torch.randn(1, 256, 16), family.find_frame(256, 256)
    with couple(family, "log_bias") as attention:
        attention.weights = weights
        with FlopCounterMode(display=False) as counter:
            family.predict_velocity(latents, torch.tensor(500.0), text, frame, None)
    return counter.get_total_flops()


@pytest.mark.parametrize("name", ["flux1", "flux2"])
def test_counted_operations_of_a_stock_and_a_middle_step_are_the_formulas_within_a_percent(
    name: str,
) -> None:
    family = build_family(
        name, num_layers=2, num_single_layers=4, num_attention_heads=4, attention_head_dim=32,
        in_channels=16, joint_attention_dim=128,
    )  # fmt: skip
    family.transformer.to(torch.float32)
    geometry = replace(MINIATURE, block_flops=family.spec.block_flops)
    stock, middle = count_step(family, None), count_step(family, 0.5)
    assert stock == pytest.approx(predict_step_flops(geometry, "stock"), rel=0.01)
    assert middle == pytest.approx(predict_step_flops(geometry, "merged"), rel=0.01)
    predicted = predict_step_flops(geometry, "merged") / predict_step_flops(geometry, "stock")
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
