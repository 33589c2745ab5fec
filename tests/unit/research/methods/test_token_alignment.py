import torch

from coupled_core.research.methods.attention_control import align_tokens


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
