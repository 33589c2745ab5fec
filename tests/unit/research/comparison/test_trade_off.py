"""The trade-off curves: which points they have, in which order, and that they are drawn."""

import io

import numpy as np
from PIL import Image

from coupled_core.research.comparison.trade_off import draw_trade_off, trace_curves
from tests.unit.research.comparison.known_results import build_results, build_row

POINTS = {"switch = 0.1": (-5.0, 22.0), "switch = 0": (-7.0, 23.0), "switch = 0.02": (-6.0, 22.5)}


def _rows() -> list[dict[str, object]]:
    curve = [
        build_row("prompt-switch", g, part="trade-off", variant=v, similarity=s, alignment=t)
        for v, (s, t) in POINTS.items()
        for g in ("lake", "forest")
    ]
    single = [build_row("coupled", g, part="trade-off") for g in ("lake", "forest")]
    compared = [
        build_row("prompt-switch", g, similarity=s)
        for g, s in (("lake", -5.5), ("forest", -6.5), ("desert", -99.0))
    ]
    return [*curve, *single, *compared]


def test_a_curve_follows_its_knob_by_value_and_ours_is_drawn_last() -> None:
    switch, ours = trace_curves(build_results(_rows()))
    assert (switch.method, ours.method) == ("prompt-switch", "coupled")
    assert [point.variant for point in switch.points] == sorted(POINTS)
    assert [point.similarity.mean for point in switch.points] == [-7.0, -6.0, -5.0]
    assert [point.alignment.mean for point in switch.points] == [23.0, 22.5, 22.0]


def test_the_tuned_point_is_taken_over_the_groups_of_the_curve() -> None:
    switch, ours = trace_curves(build_results(_rows()))
    assert switch.tuned is not None
    assert switch.tuned.similarity.mean == -6.0
    assert ours.tuned is None


def test_the_plot_shows_curves_in_colour() -> None:
    data = draw_trade_off(build_results(_rows()))
    assert data is not None
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert (np.ptp(pixels, axis=2) > 80).sum() > 200


def test_results_without_curves_make_no_plot() -> None:
    assert draw_trade_off(build_results([build_row("coupled", "lake")])) is None
