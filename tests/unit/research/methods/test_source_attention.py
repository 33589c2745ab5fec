import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from coupled_core.research.methods.attention_control import (
    TokenMap,
    align_tokens,
    attend_with_source_map,
    attend_with_source_rows,
)

NUM_TEXT, NUM_IMAGE = 6, 9
SOURCES = torch.tensor([0, 0, 0])


@pytest.fixture
def rows() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 3, 2, NUM_TEXT + NUM_IMAGE, 8).unbind(0)
    return 3 * query, key, value


def build_map() -> TokenMap:
    targets = ([5, 6, 7, 1], [5, 8, 9, 7, 1], [5, 6, 4, 7, 1])
    return TokenMap.stack([align_tokens([5, 6, 7, 1], target, NUM_TEXT) for target in targets])


def attend_by_forming_the_map(
    query: Tensor, key: Tensor, value: Tensor, token_map: TokenMap | None, replace_image_map: bool
) -> Tensor:
    """The definition, row by row, with the whole map in memory."""
    maps = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(dim=-1)
    edited = maps.clone()
    for row, source in enumerate(SOURCES.tolist()):
        if token_map is not None:
            taken = maps[source, :, NUM_TEXT:, :NUM_TEXT] @ token_map.from_source[row]
            own = maps[row, :, NUM_TEXT:, :NUM_TEXT] * token_map.keeps_own[row]
            edited[row, :, NUM_TEXT:, :NUM_TEXT] = taken + own
        if replace_image_map:
            edited[row, :, NUM_TEXT:, NUM_TEXT:] = maps[source, :, NUM_TEXT:, NUM_TEXT:]
    return edited / edited.sum(dim=-1, keepdim=True) @ value


@pytest.mark.parametrize("replace_text_map", [False, True])
@pytest.mark.parametrize("replace_image_map", [False, True])
def test_exchanging_blocks_of_the_map_equals_forming_it(
    rows: tuple[Tensor, Tensor, Tensor], replace_text_map: bool, replace_image_map: bool
) -> None:
    token_map = build_map() if replace_text_map else None
    result = attend_with_source_map(
        *rows,
        num_text=NUM_TEXT,
        source_of_row=SOURCES,
        token_map=token_map,
        replace_image_map=replace_image_map,
    )
    expected = attend_by_forming_the_map(*rows, token_map, replace_image_map)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)
    stock = scaled_dot_product_attention(*rows)
    torch.testing.assert_close(result[0], stock[0], rtol=1e-5, atol=1e-5)
    if replace_text_map or replace_image_map:
        assert (result[1] - stock[1]).abs().max() > 0.01


@pytest.mark.parametrize("take", [(True, True, False), (False, True, True)])
def test_copied_rows_are_the_image_rows_of_the_source(
    rows: tuple[Tensor, Tensor, Tensor], take: tuple[bool, bool, bool]
) -> None:
    result = attend_with_source_rows(*rows, num_text=NUM_TEXT, source_of_row=SOURCES, take=take)
    copies = [row.clone() for row in rows]
    for copy, row, taken in zip(copies, rows, take, strict=True):
        if taken:
            for i in (1, 2):
                copy[i, :, NUM_TEXT:] = row[0, :, NUM_TEXT:]
    torch.testing.assert_close(result, scaled_dot_product_attention(*copies))
