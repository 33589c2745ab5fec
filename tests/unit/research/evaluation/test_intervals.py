"""Intervals against closed forms."""

import math

import numpy as np
import pytest

from coupled_core.research.evaluation.intervals import (
    bootstrap_difference,
    bootstrap_mean,
    wilson_interval,
)


def _normal_groups(count: int, seed: int) -> dict[str, list[float]]:
    values = np.random.default_rng(seed).normal(1.5, 2.0, count)
    return {f"group-{i:04d}": [float(value)] for i, value in enumerate(values)}


def test_the_interval_of_many_groups_is_the_normal_one() -> None:
    groups = _normal_groups(400, seed=1)
    values = np.array([value for (value,) in groups.values()])
    found = bootstrap_mean(groups, num_resamples=20_000)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.05 * half)
    assert found.count == 400


def test_two_groups_have_the_four_resamples_that_can_be_written_down() -> None:
    # Drawn with replacement, two groups at 0 and 1 give means 0, 1/2, 1/2, 1: the 2.5 % point is 0.
    found = bootstrap_mean({"a": [0.0], "b": [1.0]})
    assert (found.mean, found.low, found.high) == (0.5, 0.0, 1.0)


def test_about_95_of_100_intervals_hold_the_true_mean() -> None:
    held = 0
    for seed in range(400):
        found = bootstrap_mean(_normal_groups(60, seed), num_resamples=400)
        held += found.low <= 1.5 <= found.high
    assert 0.91 <= held / 400 <= 0.98


def test_every_group_counts_the_same_however_many_pairs_it_has() -> None:
    found = bootstrap_mean({"pair": [0.0], "triple": [3.0, 3.0, 3.0]})
    assert found.mean == 1.5


def test_pairs_of_one_group_are_no_independent_evidence() -> None:
    once = _normal_groups(30, seed=2)
    twofold = {group: values * 2 for group, values in once.items()}
    assert bootstrap_mean(twofold) == bootstrap_mean(once)


def test_the_order_of_groups_does_not_matter() -> None:
    groups = _normal_groups(20, seed=3)
    assert bootstrap_mean(dict(reversed(groups.items()))) == bootstrap_mean(groups)


def test_a_paired_difference_sees_what_unpaired_intervals_hide() -> None:
    a = _normal_groups(50, seed=4)
    wobble = np.random.default_rng(5).normal(0.1, 0.05, 50)
    b = {group: [values[0] - w] for (group, values), w in zip(a.items(), wobble, strict=True)}
    found = bootstrap_difference(a, b)
    assert found.mean == pytest.approx(wobble.mean())
    assert found.excludes_zero
    assert bootstrap_mean(b).high > bootstrap_mean(a).low


def test_one_group_has_no_spread_to_speak_of() -> None:
    found = bootstrap_mean({"only": [2.0, 4.0]})
    assert (found.low, found.mean, found.high, found.count) == (3.0, 3.0, 3.0, 1)


def test_a_difference_of_other_groups_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"only one side has \['b'\]"):
        bootstrap_difference({"a": [1.0], "b": [1.0]}, {"a": [1.0]})


@pytest.mark.parametrize("values", [{}, {"a": []}, {"a": [math.nan]}, {"a": [-math.inf]}])
def test_what_has_no_mean_is_refused(values: dict[str, list[float]]) -> None:
    with pytest.raises(ValueError, match="expected"):
        bootstrap_mean(values)


def test_the_interval_of_a_share_is_wilsons() -> None:
    share = wilson_interval(8, 10)
    assert (share.low, share.high) == pytest.approx((0.4901625, 0.9433178))  # Wilson 1927
    assert wilson_interval(0, 5).low == 0.0
    assert wilson_interval(5, 5).high == 1.0
    with pytest.raises(ValueError, match="got 3 of 2"):
        wilson_interval(3, 2)
