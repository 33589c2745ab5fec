"""The compact set of ids agrees with a plain one, however it was filled."""

import random

import pytest

from coupled_core.id_set import _MAX_RECENT, IdSet


def _draw_ids(count: int) -> list[str]:
    source = random.Random(0)
    return [f"{source.getrandbits(128):032x}" for _ in range(count)]


def test_it_agrees_with_a_plain_set() -> None:
    ids = _draw_ids(1000)
    inside = IdSet([ids[:300], [], ids[300:500]])
    assert inside.contains(ids).tolist() == [True] * 500 + [False] * 500
    assert [each in inside for each in ids] == [True] * 500 + [False] * 500
    assert len(inside) == 500


def test_ids_that_are_added_are_found_before_and_after_the_set_is_sorted_again() -> None:
    ids = _draw_ids(3 * _MAX_RECENT)
    inside = IdSet([ids[:10]])
    for number, each in enumerate(ids[10:-10], start=10):
        assert each not in inside
        inside.add(bytes.fromhex(each))
        assert len(inside) == number + 1
    expected = [True] * (len(ids) - 10) + [False] * 10
    assert [each in inside for each in ids] == expected
    assert inside.contains(ids).tolist() == expected


def test_ids_that_share_their_first_half_are_told_apart() -> None:
    ids = [f"{'a' * 16}{index:016x}" for index in range(4)]
    inside = IdSet([ids[:2]])
    assert inside.contains(ids).tolist() == [True, True, False, False]
    assert ids[1] in inside
    assert ids[2] not in inside


@pytest.mark.parametrize("is_added", [True, False])
def test_what_an_id_carries_behind_its_beginning_comes_back(is_added: bool) -> None:
    ids = [bytes([number, *range(7), 0, 0, number, 0, 0, 0, 0, 0]) for number in (0, 3, 255)]
    inside = IdSet([] if is_added else [[each.hex() for each in ids]])
    for each in ids if is_added else ():
        inside.add(each)
    assert [inside.find(each[:8]) for each in ids] == ids
    assert inside.find(bytes([1, *range(7)])) is None
    assert inside.find(bytes([254, *range(7)])) is None


def test_an_empty_set_holds_nothing() -> None:
    assert "0" * 32 not in IdSet()
    assert IdSet([["0" * 32]]).contains([]).tolist() == []
    assert "0" * 32 in IdSet([["0" * 32]])


def test_an_id_takes_16_bytes_but_for_the_last_few_that_were_added() -> None:
    inside = IdSet()
    for each in _draw_ids(5 * _MAX_RECENT):
        inside.add(bytes.fromhex(each))
    assert len(inside._recent) <= _MAX_RECENT
    assert inside._sorted.nbytes == 16 * (len(inside) - len(inside._recent))
