from torch.nn.functional import scaled_dot_product_attention

from coupled_core.research.methods.attention_control import (
    ControlledProcessor,
    controlled_attention,
    list_blocks,
)
from coupled_core.research.methods.random_seed import denoise
from coupled_core.research.methods.stock_model import StockModel
from coupled_core.research.methods.stock_run import StockMethod
from tests.unit.generation.tiny_pipeline import build_sample
from tests.unit.research.methods.small_methods import largest_difference, run_sample


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
        return {name for name, one in processors if isinstance(one, ControlledProcessor)}

    blocks = ["transformer_blocks.1", "single_transformer_blocks.0"]
    with controlled_attention(model.transformer, scaled_dot_product_attention, blocks):
        assert controlled() == {f"{block}.attn.processor" for block in blocks}
    assert controlled() == set()


def test_plain_attention_in_all_blocks_is_the_stock_model(model: StockModel) -> None:
    method = StockMethod("random-seed", model, denoise)
    stock = run_sample(method, build_sample(0))
    with controlled_attention(model.transformer, scaled_dot_product_attention):
        controlled = run_sample(method, build_sample(0))
    assert largest_difference(stock, controlled) <= 1
