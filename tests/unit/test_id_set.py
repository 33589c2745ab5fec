"""The compact set of ids agrees with a plain one, however it was filled."""

import random

from coupled_core.id_set import _MAX_RECENT, FirstPlaces, IdSet


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


def test_a_hash_that_comes_again_gets_the_place_where_it_came_first() -> None:
    hashes = [int(each[:16], 16) for each in _draw_ids(2 * _MAX_RECENT)]
    seen = FirstPlaces()
    assert seen.find_or_add([0, *hashes, 0], list(range(len(hashes) + 2))) == [
        *[None] * (len(hashes) + 1),
        0,
    ]
    assert not seen._recent, "they are to be found among the sorted ones, too"
    again = seen.find_or_add(
        [2**64 - 1, *reversed(hashes)], list(range(2**40, 2**40 + 1 + len(hashes)))
    )
    assert again == [None, *range(len(hashes), 0, -1)]
    assert seen.find_or_add([2**64 - 1], [2**63]) == [2**40]


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
