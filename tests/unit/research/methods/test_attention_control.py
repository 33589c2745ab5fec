import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from coupled_core.coupling.processors import FluxProcessor
from coupled_core.research.methods.attention_control import (
    attend_with_source_rows,
    controlled_attention,
    list_blocks,
)
from coupled_core.research.methods.controls import denoise_singly
from coupled_core.research.methods.stock import StockMethod, StockModel
from tests.unit.generation.tiny_pipeline import build_sample
from tests.unit.research.methods.small_methods import largest_difference, random_rows, run_sample


def test_blocks_are_listed_in_the_order_in_which_they_run(model: StockModel) -> None:
    assert list_blocks(model.transformer) == [
        "transformer_blocks.0",
        "transformer_blocks.1",
        "single_transformer_blocks.0",
        "single_transformer_blocks.1",
    ]


def test_only_the_named_blocks_are_controlled(model: StockModel) -> None:
    def controlled() -> set[str]:
        processors = model.transformer.attn_processors.items()
        return {name for name, one in processors if isinstance(one, FluxProcessor)}

    blocks = ["transformer_blocks.1", "single_transformer_blocks.0"]
    with controlled_attention(model.transformer, scaled_dot_product_attention, blocks):
        assert controlled() == {f"{block}.attn.processor" for block in blocks}
    assert controlled() == set()


def test_plain_attention_in_all_blocks_is_the_stock_model(model: StockModel) -> None:
    method = StockMethod("random-seed", model, denoise_singly)
    stock = run_sample(method, build_sample(0))
    with controlled_attention(model.transformer, scaled_dot_product_attention):
        controlled = run_sample(method, build_sample(0))
    assert largest_difference(stock, controlled) <= 1


@pytest.mark.parametrize("take", [(True, True, False), (False, True, True)])
def test_copied_rows_are_the_image_rows_of_the_source(
    take: tuple[bool, bool, bool],
) -> None:
    num_text, sources = 6, torch.tensor([0, 0, 0])
    rows = random_rows(num_text + 9)
    result = attend_with_source_rows(*rows, num_text=num_text, source_of_row=sources, take=take)
    copies = [row.clone() for row in rows]
    for copy, row, taken in zip(copies, rows, take, strict=True):
        if taken:
            for i in (1, 2):
                copy[i, :, num_text:] = row[0, :, num_text:]
    torch.testing.assert_close(result, scaled_dot_product_attention(*copies))
