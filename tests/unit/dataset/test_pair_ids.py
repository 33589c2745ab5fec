"""The compact set of ids agrees with a plain one."""

import random

from coupled_core.dataset.pair_ids import PairIdSet


def test_it_agrees_with_a_plain_set() -> None:
    source = random.Random(0)
    ids = [f"{source.getrandbits(128):032x}" for _ in range(1000)]
    inside = PairIdSet([ids[:300], [], ids[300:500]])
    assert inside.contains(ids).tolist() == [True] * 500 + [False] * 500
    assert len(inside) == 500


def test_ids_that_share_their_first_half_are_told_apart() -> None:
    ids = [f"{'a' * 16}{index:016x}" for index in range(4)]
    inside = PairIdSet([ids[:2]])
    assert inside.contains(ids).tolist() == [True, True, False, False]
    assert ids[1] in inside
    assert ids[2] not in inside


def test_an_empty_set_holds_nothing() -> None:
    assert "0" * 32 not in PairIdSet()
    assert PairIdSet([["0" * 32]]).contains([]).tolist() == []
