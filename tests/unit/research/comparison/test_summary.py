"""Summaries and their table, against numbers worked out by hand."""

import numpy as np
import pytest

from coupled_core.research.comparison.report import render_knobs, render_table
from coupled_core.research.comparison.results import rows_of
from coupled_core.research.comparison.summary import summarise
from coupled_core.research.comparison.tuning import Tuned
from coupled_core.research.evaluation.intervals import Interval
from tests.unit.research.comparison.known_results import build_results, build_row, compare_two

OURS = ("coupled", "")


def test_a_summary_holds_the_means_of_its_method() -> None:
    ours, switch = summarise(compare_two(), OURS)
    assert (ours.method, switch.method) == ("coupled", "prompt-switch")
    assert ours.combined.mean == 1.5
    assert ours.difference is None
    assert switch.background_similarity is not None
    assert switch.alignment is not None
    assert switch.background_similarity.mean == -6.0
    assert switch.alignment.mean == 18.5
    assert switch.combined.mean == 0.75
    assert switch.guarded.mean == pytest.approx(-1.25)
    assert (switch.guard_share, switch.lost_share) == (0.5, 0.5)
    assert (switch.seconds, switch.model_evaluations) == (0.5, 42.0)


def test_differences_are_paired_by_group() -> None:
    _, switch = summarise(compare_two(), OURS)
    # Groups are drawn with replacement: both the same (-0.5 or -1.0), or one of each (-0.75).
    assert switch.difference == Interval(-0.75, -1.0, -0.5, 2)
    assert switch.guarded_difference is not None
    assert switch.guarded_difference.mean == pytest.approx(((0.5 - 1.0) + (-3.0 - 2.0)) / 2)


def test_a_pair_without_images_counts_the_floor_in_j_and_nothing_elsewhere() -> None:
    failed = build_row("p2p", "forest", similarity=None, alignment=None, combined=None,
                       objective=-3.0, guards=("generation_failed",))  # fmt: skip
    rows = [*compare_two(), build_row("p2p", "lake", combined=1.0), failed]
    p2p = next(summary for summary in summarise(rows, OURS) if summary.method == "p2p")
    assert p2p.combined.mean == -1.0
    assert p2p.background_similarity == Interval(-1.0, -1.0, -1.0, 1)
    assert (p2p.guard_share, p2p.lost_share) == (0.5, 0.0)


def test_a_region_over_the_whole_frame_does_not_make_j_infinite() -> None:
    minus_infinity = float("-inf")
    covered = build_row("p2p", "forest", similarity=minus_infinity, combined=minus_infinity,
                        objective=-3.0, guards=("mask_too_large",))  # fmt: skip
    rows = [*compare_two(), build_row("p2p", "lake", combined=1.0), covered]
    p2p = next(summary for summary in summarise(rows, OURS) if summary.method == "p2p")
    assert p2p.combined.mean == -1.0


def test_surroundings_are_told_from_those_of_stock_images_of_the_same_groups() -> None:
    random = np.random.default_rng(0)
    rows = []
    for group in map(str, range(40)):
        for method, level in (("coupled", 5.0), ("random-seed", 0.0), ("p2p", 0.0)):
            rings = {f"rings_{side}": list(random.normal(level, 1.0, 8)) for side in (0, 1)}
            rows.append(build_row(method, group) | rings)
    told = {one.method: one.told_from_stock for one in summarise(rows, OURS)}
    assert told["random-seed"] is None  # it is what the others are told from
    assert told["coupled"] is not None and told["coupled"].mean > 0.95
    assert told["p2p"] is not None and told["p2p"].low < 0.5 < told["p2p"].high


def test_others_stand_by_falling_j() -> None:
    rows = compare_two() + [build_row("p2p", group, combined=9.0) for group in ("lake", "forest")]
    assert [s.method for s in summarise(rows, OURS)] == ["coupled", "p2p", "prompt-switch"]


def test_a_comparison_without_ours_is_refused() -> None:
    with pytest.raises(ValueError, match="expected rows of"):
        summarise([build_row("p2p", "lake")], OURS)


def test_the_table_says_what_the_results_file_says() -> None:
    rows = rows_of(build_results(compare_two()), "comparison")
    lines = render_table(summarise(rows, OURS), "coupled").splitlines()
    assert lines[0].startswith(
        "| method | background similarity | ... clear of the masks | equal pixels | rim seam "
        "| told from stock | images right | alignment | combined J |"
    )
    assert lines[2] == (
        "| **coupled** | -2.000 [-3.000, -1.000] | 0.000 [0.000, 0.000] | 0.0% "
        "| 0.00 [0.00, 0.00] | – | – | 22.00 [20.00, 24.00] | 1.500 [1.000, 2.000] "
        "| – | – | 0.0% | 0.0% | 0.500 | 48.0 |"
    )
    assert lines[3] == (
        "| prompt-switch | -6.000 [-8.000, -4.000] | 0.000 [0.000, 0.000] | 0.0% "
        "| 0.00 [0.00, 0.00] | – | – | 18.50 [18.00, 19.00] | 0.750 [0.500, 1.000] "
        "| **-0.750 [-1.000, -0.500]** | **-2.750 [-5.000, -0.500]** | 50.0% | 50.0% | 0.500 "
        "| 42.0 |"
    )


def test_a_difference_whose_interval_holds_zero_is_not_bold() -> None:
    rows = compare_two()[:2] + [
        build_row("p2p", "lake", combined=1.5),
        build_row("p2p", "forest", combined=1.5),
    ]
    table = render_table(summarise(rows, OURS), "coupled")
    assert "| +0.000 [-0.500, +0.500] |" in table


def test_the_table_of_knobs_names_what_each_one_is() -> None:
    switch = Tuned("prompt-switch", {"switch": 0.25}, 1.5, 1.25, 12, None, {"switch": "a share"})
    seed = Tuned("random-seed", {}, None, None, 0, None, {})
    lines = render_knobs([switch, seed]).splitlines()
    assert lines[2] == "| prompt-switch | switch 0.25 (a share) | 1.500 | 1.250 | 12 |"
    assert lines[3] == "| random-seed | none | – | – | 0 |"
