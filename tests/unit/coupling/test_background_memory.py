"""Computing the region's tokens alone must equal computing all and throwing the others away."""

import pytest
import torch
from torch import Tensor

from coupled_core.coupling.attention import Block, CoupledAttention
from coupled_core.generation.families.family import Family
from tests.unit.coupling.small_flux import (
    NUM_TEXT,
    SIDE,
    Inputs,
    couple,
    install,
    relative_error,
    run_stock,
    run_with_text,
    weigh,
)

INSIDE = torch.tensor([1, 2, 5, 6, 9])
OUTSIDE = torch.tensor([i for i in range(SIDE * SIDE) if i not in INSIDE])
BETA = torch.tensor(0.4, dtype=torch.float64)


class LiteralAttention(CoupledAttention):
    """All tokens computed; keys and values outside the region overwritten by the background's."""

    def __init__(self) -> None:
        super().__init__("region")
        self.background: dict[str, tuple[Tensor, Tensor]] = {}
        self.is_recalling = False

    def attend(self, block: Block, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if not self.is_recalling:
            self.background[block.name] = key[:, :, -SIDE * SIDE :], value[:, :, -SIDE * SIDE :]
            return super().attend(block, query, key, value)
        key, value = key.clone(), value.clone()
        rows = key.shape[2] - SIDE * SIDE + OUTSIDE
        for own, background in zip((key, value), self.background[block.name], strict=True):
            own[:, :, rows] = background[:, :, OUTSIDE]
        return super().attend(block, query, key, value)


def read_images(
    family: Family, inputs: Inputs, attention: CoupledAttention, tokens: Tensor, *, is_coupled: bool
) -> Tensor:
    """Run the three rows of `inputs` as images, `tokens` of each."""
    attention.weights = weigh(BETA) if is_coupled else None
    text = [inputs.background, inputs.entity] if is_coupled else [inputs.entity]
    return run_with_text(family, inputs, torch.cat(text, dim=1), attention.weights, tokens)


def run_literally(family: Family, inputs: Inputs, *, is_coupled: bool) -> Tensor:
    attention, first = LiteralAttention(), inputs.take_first()
    install(family, attention)
    run_stock(family, first, first.background)
    attention.is_recalling = True
    everything = torch.arange(SIDE * SIDE)
    return read_images(family, inputs, attention, everything, is_coupled=is_coupled)


@pytest.mark.parametrize("is_coupled", [False, True])
def test_the_regions_tokens_alone_equal_all_tokens_with_the_background_put_in(
    family: Family, inputs: Inputs, is_coupled: bool
) -> None:
    first = inputs.take_first()
    with couple(family, "region") as attention:
        with attention.keep(OUTSIDE, NUM_TEXT):
            run_stock(family, first, first.background)
        with attention.recall():
            alone = read_images(family, inputs, attention, INSIDE, is_coupled=is_coupled)
    everything = run_literally(family, inputs, is_coupled=is_coupled)
    assert relative_error(alone, everything[:, INSIDE]) < 1e-12


def test_keeping_changes_nothing_and_holds_the_tokens_outside_alone_until_they_are_read(
    family: Family, inputs: Inputs
) -> None:
    first = inputs.take_first()
    expected = run_stock(family, first, first.background)
    with couple(family, "region") as attention:
        with attention.keep(OUTSIDE, NUM_TEXT):
            velocity = run_stock(family, first, first.background)
        num_blocks = len(family.transformer.attn_processors)
        heads, head_dim, float64_bytes = 2, 16, 8
        held = 2 * num_blocks * heads * len(OUTSIDE) * head_dim * float64_bytes
        assert attention.num_kept_bytes == held
        with attention.recall():
            read_images(family, inputs, attention, INSIDE, is_coupled=False)
        assert attention.num_kept_bytes == 0
    assert torch.equal(velocity, expected)


def test_a_failure_while_recalling_leaves_nothing_kept(family: Family, inputs: Inputs) -> None:
    first = inputs.take_first()
    with couple(family, "region") as attention:
        with attention.keep(OUTSIDE, NUM_TEXT):
            run_stock(family, first, first.background)
        with pytest.raises(RuntimeError, match="stop"), attention.recall():
            raise RuntimeError("stop")
        assert attention.num_kept_bytes == 0
        after = run_stock(family, inputs, inputs.entity)
    assert torch.equal(after, run_stock(family, inputs, inputs.entity))
