"""Survival curves say what the filter would really keep."""

import json
from pathlib import Path

import numpy as np
import pytest

from coupled_core.dataset.reader import current_snapshot
from coupled_core.dataset.upkeep.review import apply_decisions, parse_decisions
from coupled_core.filters import list_filters
from coupled_core.report.measurements import read_measurements
from coupled_core.report.survival import SurvivalCurve, bounds_in_force, compute_survival
from coupled_core.storage.open_store import open_store
from coupled_core.storage.store import ObjectStore
from tests.sample_pairs import SamplePair, commit_pairs


def _mixed_pairs(number: int = 40) -> list[SamplePair]:
    random = np.random.default_rng(3)
    pairs = [
        SamplePair(
            combined=float(random.uniform(0.5, 2)),
            mask_side=float(random.choice([0.0, 0.02, 0.3, 0.6, 0.8])),
            pixel_mse=float(10 ** random.uniform(0, 3.5)),
            background_similarity_clear=float(random.uniform(-2, 0)),
            rim_seam=float(random.uniform(0, 3)),
            crop_evidence=float(random.uniform(0, 1)),
        )
        for _ in range(number)
    ]
    odd = [SamplePair(combined=float("-inf")), SamplePair(background_ssim=float("nan"))]
    return [*pairs, *odd]


def _curves(store: ObjectStore) -> dict[str, SurvivalCurve]:
    snapshot = current_snapshot(store)
    assert snapshot is not None
    curves = compute_survival(read_measurements(store, snapshot), bounds_in_force(snapshot.runs))
    return {curve.filter.setting: curve for curve in curves}


@pytest.mark.parametrize("name", [each.setting for each in list_filters()])
def test_each_curve_counts_what_a_build_with_that_threshold_keeps(
    name: str, tmp_path: Path
) -> None:
    built = open_store(tmp_path / "built")
    snapshot = commit_pairs(built, _mixed_pairs())
    curve = _curves(built)[name]
    assert curve.kept_at(curve.in_force[0]) == snapshot.funnel.pairs_kept
    for place in np.linspace(0, len(curve.bounds) - 1, 4).astype(int):
        other = open_store(tmp_path / f"other-{place}")
        rebuilt = commit_pairs(other, _mixed_pairs(), settings={name: curve.bounds[place]})
        assert curve.num_kept[place] == rebuilt.funnel.pairs_kept


def test_what_a_person_kept_survives_every_threshold(tmp_path: Path) -> None:
    store = open_store(tmp_path / "pairs")
    commit_pairs(store, [SamplePair(combined=0.1), SamplePair()], store_dropped=True)
    pair_id = f"{sum(b'run'):016x}{0:016x}"
    content = {"format": "coupled-review-1", "dataset": "", "snapshot_id": ""}
    data = json.dumps({**content, "decisions": {pair_id: "keep"}}).encode()
    apply_decisions(store, parse_decisions(data, "decisions.json"))
    curve = _curves(store)["min_combined"]
    assert curve.kept_at(curve.in_force[0]) == 2


def test_runs_with_different_thresholds_show_all_of_them(tmp_path: Path) -> None:
    store = open_store(tmp_path / "pairs")
    commit_pairs(store, [SamplePair()], run_id="one")
    commit_pairs(store, [SamplePair()], run_id="two", settings={"min_combined": 1.5})
    assert _curves(store)["min_combined"].in_force == (1.0, 1.5)
