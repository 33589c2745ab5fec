"""Power against comparisons that are drawn many times."""

import math

import numpy as np
import pytest

from coupled_core.research.evaluation.intervals import Interval
from coupled_core.research.evaluation.power import (
    count_groups_to_detect,
    detectable_by,
    detectable_difference,
)


def test_a_difference_of_that_size_is_found_in_80_of_100_comparisons() -> None:
    num_groups, sd = 50, 0.3
    size = detectable_difference(num_groups, sd)
    drawn = np.random.default_rng(0).normal(size, sd, (4000, num_groups))
    found = drawn.mean(axis=1) - 1.96 * sd / math.sqrt(num_groups) > 0.0
    assert found.mean() == pytest.approx(0.8, abs=0.02)


def test_the_groups_that_a_difference_needs_are_the_fewest_that_find_it() -> None:
    needed = count_groups_to_detect(0.05, 0.25)
    assert detectable_difference(needed, 0.25) <= 0.05 < detectable_difference(needed - 1, 0.25)


def test_an_interval_tells_what_its_comparison_could_find() -> None:
    half = 1.96 * 0.25 / math.sqrt(64)
    found = detectable_by(Interval(0.01, 0.01 - half, 0.01 + half, 64))
    assert found == pytest.approx(detectable_difference(64, 0.25), rel=1e-3)


@pytest.mark.parametrize("difference", [0.0, -0.1])
def test_no_number_of_groups_finds_a_difference_that_is_none(difference: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        count_groups_to_detect(difference)
