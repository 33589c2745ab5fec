"""Prompt-to-Prompt: which tokens correspond, the exchanged map, and the ends of the knobs."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from coupled_core.research.methods.method import Method
from coupled_core.research.methods.prompt_to_prompt import (
    TokenMap,
    align_tokens,
    attend_with_source_map,
)
from tests.unit.generation.tiny_pipeline import build_sample
from tests.unit.research.methods.small_methods import (
    largest_difference,
    random_rows,
    run_sample,
    with_one_prompt,
)

NUM_TEXT, NUM_IMAGE = 6, 9
SOURCES = torch.tensor([0, 0, 0])
VARIANTS = [("p2p", {"tau_c": 1.0, "tau_s": 1.0}), ("p2p-efficient", {"tau_s": 1.0})]


@pytest.mark.parametrize(("name", "all_steps"), VARIANTS)
def test_identical_prompts_give_the_identical_images_of_the_random_seed(
    methods: Mapping[str, Method], name: str, all_steps: dict[str, float]
) -> None:
    sample = with_one_prompt(3)
    images = run_sample(methods[name], sample, **all_steps)
    assert largest_difference(images, images[:1]) <= 1
    assert largest_difference(images, run_sample(methods["random-seed"], sample)) <= 1


@pytest.mark.parametrize(("name", "all_steps"), VARIANTS)
def test_shares_of_0_are_the_random_seed(
    methods: Mapping[str, Method], name: str, all_steps: dict[str, float]
) -> None:
    sample = build_sample(1, 3)
    images = run_sample(methods[name], sample, **dict.fromkeys(all_steps, 0.0))
    assert largest_difference(images, run_sample(methods["random-seed"], sample)) == 0


def test_both_blocks_of_the_map_have_an_effect_of_their_own(methods: Mapping[str, Method]) -> None:
    sample, method = build_sample(1), methods["p2p"]
    text, image, both = (
        run_sample(method, sample, tau_c=tau_c, tau_s=tau_s)[1]
        for tau_c, tau_s in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
    )
    assert largest_difference(text, image) > 1
    assert largest_difference(text, both) > 1
    assert largest_difference(image, both) > 1


def test_equal_prompts_give_the_identity() -> None:
    token_map = align_tokens([5, 6, 7, 1], [5, 6, 7, 1], 8)
    assert torch.equal(token_map.from_source[0], torch.eye(8))
    assert token_map.keeps_own.sum() == 0


def test_a_swapped_word_of_equal_length_takes_its_predecessors_attention() -> None:
    token_map = align_tokens([5, 6, 7, 1], [5, 9, 7, 1], 6)
    assert torch.equal(token_map.from_source[0], torch.eye(6))


def test_a_swapped_word_of_other_length_takes_all_of_it_in_equal_shares() -> None:
    token_map = align_tokens([5, 6, 1], [5, 8, 9, 1], 6)
    assert token_map.from_source[0, 1].tolist() == [0, 0.5, 0.5, 0, 0, 0]
    assert token_map.from_source[0, 2].tolist() == [0, 0, 0, 1, 0, 0], "the end stays the end"
    assert token_map.from_source[0, 3].tolist() == [0, 0, 0, 0, 1, 0], "pads follow in order"


def test_an_inserted_word_keeps_its_own_attention() -> None:
    token_map = align_tokens([5, 7, 1], [5, 6, 7, 1], 5)
    assert token_map.keeps_own[0].tolist() == [0, 1, 0, 0, 0]
    assert token_map.from_source[0].sum(dim=0).tolist() == [1, 0, 1, 1, 1]


def test_a_deleted_word_leaves_pads_without_counterpart() -> None:
    token_map = align_tokens([5, 6, 7, 1], [5, 7, 1], 5)
    assert token_map.from_source[0, 1].sum() == 0
    assert token_map.keeps_own[0].tolist() == [0, 0, 0, 0, 1]


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
    replace_text_map: bool, replace_image_map: bool
) -> None:
    rows = random_rows(NUM_TEXT + NUM_IMAGE)
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
