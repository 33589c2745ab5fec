"""How well scores rank pairs, on pairs of which it is known."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coupled_core.dataset.images import encode_image
from coupled_core.research.comparison import ranking
from coupled_core.research.comparison.results import to_bytes
from tests.unit.research.comparison.known_results import build_results, compare_two


def build_pair(changed_share: float = 0.0, **fields: Any) -> dict[str, Any]:
    first = np.full((10, 10, 3), 100, np.uint8)
    second = first.copy()
    second.reshape(100, 3)[: round(100 * changed_share)] += 50
    images = {f"image_{i}": encode_image(image).data for i, image in enumerate((first, second))}
    known = {"group_id": "a", "right_fraction": 1.0, "guards": [], "combined": 4.9}
    return {**known, "background_similarity_clear": -0.2, **images, **fields}


def test_the_area_counts_good_pairs_above_others_and_ties_half() -> None:
    good = np.array([True, True, False, False])
    assert ranking.area_under_curve(np.array([3.0, 2.0, 1.0, 0.0]), good) == 1.0
    assert ranking.area_under_curve(np.array([1.0, 1.0, 1.0, 1.0]), good) == 0.5
    assert ranking.area_under_curve(np.array([3.0, 0.0, 1.0, 2.0]), good) == 0.5
    assert math.isnan(ranking.area_under_curve(np.array([1.0]), np.array([True])))


def test_a_pair_is_good_with_both_entities_before_one_background() -> None:
    assert ranking.is_good(build_pair(changed_share=0.2))
    assert not ranking.is_good(build_pair(changed_share=0.4))
    assert not ranking.is_good(build_pair(right_fraction=0.5))
    assert not ranking.is_good(build_pair(image_0=None))


def test_a_decision_heeds_guards_and_both_bounds() -> None:
    assert ranking.decide(build_pair(), None) == 1.0
    assert ranking.decide(build_pair(guards=["empty_mask"]), None) == 0.0
    assert ranking.decide(build_pair(combined=4.3), None) == 0.0
    assert ranking.decide(build_pair(), -0.5) == 1.0
    assert ranking.decide(build_pair(background_similarity_clear=-0.6), -0.5) == 0.0
    assert ranking.decide(build_pair(background_similarity_clear=None), -0.5) == 0.0


def test_each_ranking_has_its_area_precision_and_recall() -> None:
    rows = [
        build_pair(group_id="a"),
        build_pair(group_id="b", combined=4.5),
        build_pair(group_id="c", changed_share=0.9, background_similarity_clear=-9.0),
        build_pair(group_id="d", right_fraction=0.0, combined=4.0),
    ]
    lines = ranking.rank_rows(rows)
    assert lines[0] == "4 pairs of 4 groups, 0.500 of them good"
    assert "0.750" in lines[1]
    assert lines[1].endswith("precision 0.67, recall 1.00")
    assert "1.000" in lines[2]


def test_results_without_images_are_refused_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results.parquet"
    path.write_bytes(to_bytes(build_results(compare_two())))
    with pytest.raises(SystemExit):
        ranking.main([str(path)])
    assert "--num-picture-rows" in capsys.readouterr().err
