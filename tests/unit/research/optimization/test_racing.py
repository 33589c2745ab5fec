"""Races on pairs whose worth is known, luck included."""

import numpy as np
import pytest

from coupled_core.research.optimization.racing import (
    Round,
    check_steps,
    count_groups,
    hold_finals,
    plan_rounds,
    race,
)
from coupled_core.schedules.schedule import Schedule
from tests.unit.research.optimization.known_pairs import (
    BEFORE,
    KnownTrials,
    gain_of,
    schedule_worth,
)

GAINS = np.linspace(-0.4, 0.2, 13)
CANDIDATES = [schedule_worth(float(gain)) for gain in GAINS if abs(gain) > 1e-9]
ROUNDS = plan_rounds(len(CANDIDATES), 8, 2, num_available=1000)


def test_rounds_halve_the_candidates_and_double_the_groups_up_to_what_there_is() -> None:
    assert plan_rounds(24, 12, 2, 1000) == (
        Round(24, 12),
        Round(12, 24),
        Round(6, 48),
        Round(3, 96),
    )
    assert plan_rounds(24, 12, 2, 40)[2:] == (Round(6, 40), Round(3, 40))
    assert plan_rounds(2, 12, 2, 40) == ()


def test_groups_are_counted_with_those_of_the_schedule_in_use() -> None:
    rounds = plan_rounds(4, 10, 1, 1000)  # 4 candidates on 10 groups, 2 on 20
    assert count_groups(rounds, 1, 100) == 5 * 10 + 3 * 10 + 2 * 100


def test_the_best_come_through_and_few_groups_are_spent_on_the_others() -> None:
    trials = KnownTrials(sd=0.2)
    results = race(BEFORE, CANDIDATES, ROUNDS, 2, "combined", trials)
    last = results[-1]
    assert last.num_left <= 2
    left = [gain_of(each.schedule) for each in last.standings[: last.num_left]]
    assert max(left) >= 0.15 and min(left) > 0.0
    worst = trials.groups_made["race", CANDIDATES[0].id]
    assert worst == 8 < trials.groups_made["race", BEFORE.id]
    made = sum(trials.groups_made.values())
    assert made <= count_groups(ROUNDS, 2, 0) < 0.6 * len(CANDIDATES) * ROUNDS[-1].num_groups


def test_a_later_round_makes_only_the_groups_that_are_new() -> None:
    trials = KnownTrials(sd=0.2)
    results = race(BEFORE, CANDIDATES, ROUNDS, 2, "combined", trials)
    assert trials.groups_made["race", BEFORE.id] == results[-1].num_groups
    assert {each.differences["combined"].count for each in results[-1].standings} == {
        results[-1].num_groups
    }


def test_candidates_that_are_clearly_worse_end_the_race() -> None:
    worse = [schedule_worth(gain) for gain in (-0.5, -0.4, -0.3, -0.2)]
    results = race(BEFORE, worse, plan_rounds(4, 16, 1, 1000), 1, "combined", KnownTrials(0.05))
    assert len(results) == 1 and results[0].num_left == 0
    assert hold_finals(BEFORE, [], 50, "combined", KnownTrials(0.05)) == ((), {}, None)


def test_a_candidate_that_crops_entities_does_not_come_through_however_large_its_gain() -> None:
    cropping = schedule_worth(0.3)
    fields = {each.id: {"stock_outside": (0.0, 0.0)} for each in (BEFORE, *CANDIDATES)}
    trials = KnownTrials(0.1, {**fields, cropping.id: {"stock_outside": (0.2, 0.0)}})
    results = race(BEFORE, [*CANDIDATES, cropping], ROUNDS, 2, "combined", trials)
    (standing,) = [each for each in results[0].standings if each.schedule == cropping]
    assert standing.vetoes == ("stock_outside",)
    assert all(each.schedule != cropping for each in results[1].standings)


def test_a_winner_is_better_on_groups_that_it_was_not_raced_on() -> None:
    better, same = schedule_worth(0.1), schedule_worth(0.001)
    standings, means, winner = hold_finals(
        BEFORE, [same, better], 200, "combined", KnownTrials(0.2)
    )
    assert winner == better == standings[0].schedule
    assert {each.differences["combined"].count for each in standings} == {200}
    assert means["combined"].count == 200


def test_what_is_no_better_does_not_win_more_often_than_by_chance() -> None:
    """At most 2.5 % by the level of the interval; of 60 races one or two, rarely four or more."""
    num_won = 0
    for index in range(60):
        level = schedule_worth(1e-5 * (index + 1))
        _, _, winner = hold_finals(BEFORE, [level], 40, "combined", KnownTrials(0.2))
        num_won += winner is not None
    assert num_won <= 6


def test_nobody_wins_on_so_few_groups_that_luck_looks_like_a_gain() -> None:
    better = schedule_worth(0.3)
    for num_groups, expected in ((7, None), (8, better)):
        standings, _, winner = hold_finals(
            BEFORE, [better], num_groups, "combined", KnownTrials(0.01)
        )
        assert standings[0].differences["combined"].low > 0.2
        assert winner == expected


def test_a_vetoed_finalist_does_not_win() -> None:
    better = schedule_worth(0.3)
    trials = KnownTrials(0.1, {better.id: {"model_evaluations": 60.0}})
    standings, _, winner = hold_finals(BEFORE, [better], 50, "combined", trials)
    assert standings[0].differences["combined"].low > 0 and standings[0].vetoes
    assert winner is None


def test_a_race_that_is_run_again_asks_for_the_same_trials() -> None:
    trials = KnownTrials(0.2)
    first = race(BEFORE, CANDIDATES, ROUNDS, 2, "combined", trials)
    keys = list(trials.keys)
    assert race(BEFORE, CANDIDATES, ROUNDS, 2, "combined", trials) == first
    assert trials.keys == keys


def test_more_candidates_use_what_was_made_for_fewer() -> None:
    trials = KnownTrials(0.2)
    race(BEFORE, CANDIDATES[:6], plan_rounds(6, 8, 2, 1000), 2, "combined", trials)
    before = dict(trials.groups_made)
    rounds = plan_rounds(12, 8, 2, 1000)
    race(BEFORE, CANDIDATES, rounds, 2, "combined", trials)
    alone = KnownTrials(0.2)
    race(BEFORE, CANDIDATES, rounds, 2, "combined", alone)
    # No group was made twice: what both races ask for is as much as the larger of them takes.
    both = {key: max(before.get(key, 0), made) for key, made in alone.groups_made.items()}
    assert {key: trials.groups_made[key] for key in both} == both
    assert sum(trials.groups_made.values()) < sum([*before.values(), *alone.groups_made.values()])


@pytest.mark.parametrize("count", [10, 28])
def test_other_step_counts_are_compared_at_that_count(count: int) -> None:
    winner: Schedule = schedule_worth(0.1)
    (found,) = check_steps(BEFORE, winner, [count], 30, "combined", KnownTrials(0.05))
    assert found.num_inference_steps == count
    assert found.standing.differences["combined"].mean == pytest.approx(0.1, abs=0.05)
