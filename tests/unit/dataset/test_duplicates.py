"""Which pairs duplicate another, found among many; checked against comparing all with all."""

from dataclasses import replace

import numpy as np
import pytest

from coupled_core.config import DuplicatesConfig
from coupled_core.dataset.duplicates import PairLooks, cosines, find_duplicates

CONFIG = DuplicatesConfig()
NONE = PairLooks.concatenate([])


def _looks(random: np.random.Generator, count: int, prefix: int = 0) -> PairLooks:
    return PairLooks(
        np.array([f"{prefix:016x}{index:016x}" for index in range(count)], "S32"),
        random.normal(size=count),
        random.integers(0, 2**64, (count, 2), dtype=np.uint64),
        random.integers(-90, 90, (count, 2, 64)).astype(np.int8),
    )


def _disturbed(
    random: np.random.Generator, pairs: PairLooks, bits: int, *, prefix: int, noise: int = 4
) -> PairLooks:
    """Return pairs with other ids whose hashes differ in up to so many bits."""
    flips = np.zeros_like(pairs.phashes)
    for _ in range(bits):
        flips ^= np.uint64(1) << random.integers(0, 64, flips.shape).astype(np.uint64)
    ids = np.array([f"{prefix:016x}{index:016x}" for index in range(len(pairs))], "S32")
    codes = (pairs.codes + random.integers(-noise, noise + 1, pairs.codes.shape)).astype(np.int8)
    return PairLooks(ids, random.normal(size=len(pairs)), pairs.phashes ^ flips, codes)


def _swapped(pairs: PairLooks) -> PairLooks:
    return replace(pairs, phashes=pairs.phashes[:, ::-1], codes=pairs.codes[:, ::-1])


def _are_near(pairs: PairLooks, i: int, j: int, config: DuplicatesConfig) -> bool:
    for order in ([0, 1], [1, 0]):
        gaps = np.bitwise_count(pairs.phashes[i] ^ pairs.phashes[j][order])
        alike = cosines(pairs.codes[i], pairs.codes[j][order])
        if (gaps <= config.max_phash_distance).all() and (
            alike >= config.min_clip_similarity
        ).all():
            return True
    return False


def _compare_all(settled: PairLooks, new: PairLooks, config: DuplicatesConfig) -> dict[str, str]:
    pairs = PairLooks.concatenate([settled.best_first(), new.best_first()])
    stays, found = list(range(len(settled))), {}
    for index in range(len(settled), len(pairs)):
        keeper = next((k for k in stays if _are_near(pairs, k, index, config)), None)
        if keeper is None:
            stays.append(index)
        else:
            found[pairs.pair_ids[index].decode()] = pairs.pair_ids[keeper].decode()
    return found


@pytest.mark.parametrize("max_distance", [0, 3, 6])
def test_exactly_those_are_found_that_comparing_all_with_all_finds(max_distance: int) -> None:
    random = np.random.default_rng(max_distance)
    config = DuplicatesConfig(max_phash_distance=max_distance)
    settled = _looks(random, 40, 1)
    new = PairLooks.concatenate(
        [
            _looks(random, 30, 2),
            _disturbed(random, settled, max_distance, prefix=3),
            _swapped(_disturbed(random, settled, max_distance, prefix=4)),
            _disturbed(random, settled, max_distance + 3, prefix=5),
            _disturbed(random, settled, 1, prefix=6, noise=60),
        ]
    )
    new = PairLooks.concatenate([new, _disturbed(random, new, 2, prefix=7)])
    found = find_duplicates([settled], new, config)
    assert found == _compare_all(settled, new, config)
    assert 40 < len(found) < len(new) - 40


def test_blocks_with_more_and_with_fewer_pairs_than_are_new_find_the_same() -> None:
    random = np.random.default_rng(8)
    settled, others = _looks(random, 60, 1), _looks(random, 300, 2)
    swapped = _swapped(_disturbed(random, settled, 4, prefix=4))
    new = PairLooks.concatenate([_disturbed(random, settled, 4, prefix=3), swapped])
    found = find_duplicates([PairLooks.concatenate([settled, others])], new, CONFIG)
    assert len(found) == 120
    halves = [settled.take(np.arange(30)), NONE, settled.take(np.arange(30, 60)), others]
    assert find_duplicates(halves, new, CONFIG) == found


def test_the_order_in_which_pairs_come_changes_nothing() -> None:
    random = np.random.default_rng(1)
    first = _looks(random, 60)
    new = PairLooks.concatenate([first, _disturbed(random, first, 4, prefix=1)])
    found = find_duplicates([NONE], new, CONFIG)
    assert len(found) == 60
    shuffled = new.take(random.permutation(len(new)))
    assert find_duplicates([NONE], shuffled, CONFIG) == found


def test_the_better_pair_stays_and_of_equal_ones_that_with_the_smaller_id() -> None:
    pairs = _looks(np.random.default_rng(2), 2)
    for scores, expected in (((1.0, 2.0), 0), ((2.0, 1.0), 1), ((1.0, 1.0), 1)):
        same = replace(
            pairs.take(np.array([0, 0])), pair_ids=pairs.pair_ids, combined=np.array(scores)
        )
        (gone,) = find_duplicates([NONE], same, CONFIG)
        assert gone == pairs.pair_ids[expected].decode()


def test_a_settled_pair_stays_however_good_the_new_one_is() -> None:
    random = np.random.default_rng(3)
    settled = replace(_looks(random, 1, 1), combined=np.array([-np.inf]))
    new = replace(_disturbed(random, settled, 2, prefix=2), combined=np.array([9.0]))
    assert find_duplicates([settled], new, CONFIG) == {
        new.pair_ids[0].decode(): settled.pair_ids[0].decode()
    }


def test_what_is_near_only_to_a_dropped_pair_stays() -> None:
    first = replace(_looks(np.random.default_rng(4), 1, 1), combined=np.array([3.0]))
    chain = [first]
    for step in (1, 2):  # each six bits from the one before, twelve from the first
        flips = np.array([[0b111111, 0b111111]], np.uint64) << np.uint64(8 * step)
        chain.append(
            replace(
                chain[-1],
                pair_ids=np.array([f"{step:032x}"], "S32"),
                combined=chain[-1].combined - 1,
                phashes=chain[-1].phashes ^ flips,
            )
        )
    found = find_duplicates([NONE], PairLooks.concatenate(chain), CONFIG)
    assert found == {chain[1].pair_ids[0].decode(): first.pair_ids[0].decode()}


def test_one_near_image_is_not_enough() -> None:
    random = np.random.default_rng(5)
    settled, other = _looks(random, 1, 1), _looks(random, 1, 2)
    shared = replace(
        other,
        phashes=np.stack([settled.phashes[:, 0], other.phashes[:, 1]], axis=1),
        codes=np.stack([settled.codes[:, 0], other.codes[:, 1]], axis=1),
    )
    assert find_duplicates([settled], shared, CONFIG) == {}


def test_a_thousand_equal_pairs_are_dropped_but_one() -> None:
    one = _looks(np.random.default_rng(6), 1)
    many = replace(
        one.take(np.zeros(1000, int)), pair_ids=_looks(np.random.default_rng(7), 1000).pair_ids
    )
    found = find_duplicates([NONE], many, CONFIG)
    assert len(found) == 999
    assert set(found.values()) == {many.pair_ids[0].decode()}
