"""Samples of streams."""

import math

from coupled_core.reservoir import Reservoir


def test_a_short_stream_is_kept_whole() -> None:
    sample = Reservoir[int](5)
    for item in range(3):
        sample.add(item)
    assert (sample.items, sample.num_seen) == ([0, 1, 2], 3)


def test_a_sample_keeps_the_order_of_the_stream_and_is_the_same_each_time() -> None:
    first, again, other = Reservoir[int](10), Reservoir[int](10), Reservoir[int](10, seed=1)
    for item in range(1000):
        for sample in (first, again, other):
            sample.add(item)
    assert first.items == sorted(first.items) == again.items
    assert first.items != other.items
    assert len(first.items) == 10


def test_each_item_is_as_likely_as_any_other() -> None:
    """Counts over many seeds: of each item within five standard errors of the expected ones."""
    num_samples, num_items, size = 4000, 20, 5
    counts = [0] * num_items
    for seed in range(num_samples):
        sample = Reservoir[int](size, seed)
        for item in range(num_items):
            sample.add(item)
        for item in sample.items:
            counts[item] += 1
    share = size / num_items
    error = math.sqrt(num_samples * share * (1 - share))
    assert all(abs(count - num_samples * share) < 5 * error for count in counts)
