"""Work that was finished is found again, and not where anything that decides it has changed."""

from dataclasses import replace
from pathlib import Path

import pytest

from coupled_core.progress import SilentProgress
from coupled_core.research.comparison.chunks import (
    Cell,
    ChunkStore,
    cut,
    evaluate_chunk,
    list_trade_off,
    spread,
)
from coupled_core.research.comparison.conditions import Conditions
from coupled_core.research.comparison.settings import CompareSettings
from coupled_core.research.comparison.tuning import Tuned, TuningStore
from coupled_core.research.evaluation.pairs import Evaluator
from coupled_core.research.methods.method import Knob
from tests.unit.research.comparison.drawn_method import (
    DRIFT,
    DrawnMethod,
    load_evaluator,
    read_samples,
)

CONDITIONS = Conditions({"steps": 4}, {"metric_version": "1"}, {}, "code")
SILENT = SilentProgress()


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    return load_evaluator()


def _settings(folder: Path, **more: int) -> CompareSettings:
    return CompareSettings(methods=("coupled",), output=str(folder), sweep_budget=3, **more)


def test_chunks_hold_every_sample_once_and_show_the_first_pairs(tmp_path: Path) -> None:
    samples = read_samples(5)
    settings = _settings(tmp_path, chunk_size=2, num_picture_rows=3)
    chunks = cut(Cell("comparison", "coupled", {}), samples, settings)
    assert [s for chunk in chunks for s in chunk.samples] == samples
    assert [chunk.num_shown for chunk in chunks] == [2, 1, 0]
    assert {c.num_shown for c in cut(Cell("ablation", "coupled", {}), samples, settings)} == {0}


def test_a_finished_chunk_is_found_again_with_its_rows_and_pictures(
    tmp_path: Path, evaluator: Evaluator
) -> None:
    settings = _settings(tmp_path, num_picture_rows=1)
    chunk = cut(Cell("comparison", "coupled", {"drift": 0.1}), read_samples(2), settings)[0]
    store = ChunkStore(settings, CONDITIONS)
    assert not store.has(chunk)
    evaluate_chunk(chunk, DrawnMethod(), evaluator, store, SILENT)
    rows = ChunkStore(settings, CONDITIONS).read([chunk]).to_pylist()
    assert [row["group_id"] for row in rows] == [s.group.group_id for s in chunk.samples]
    assert [row["image_0"] is not None for row in rows] == [True, False]
    assert rows[0]["knobs"] == [("drift", 0.1)]
    assert rows[0]["combined"] == rows[0]["objective"]


def test_a_change_of_anything_that_decides_a_chunk_hides_it(
    tmp_path: Path, evaluator: Evaluator
) -> None:
    settings = _settings(tmp_path, num_picture_rows=0)
    cell, samples = Cell("comparison", "coupled", {"drift": 0.1}), read_samples(3)
    chunk = cut(cell, samples[:1], settings)[0]
    evaluate_chunk(chunk, DrawnMethod(), evaluator, ChunkStore(settings, CONDITIONS), SILENT)
    same, changed = ChunkStore(settings, CONDITIONS), replace(CONDITIONS, code="other code")
    assert same.has(chunk)
    assert not ChunkStore(settings, changed).has(chunk)
    assert not same.has(replace(chunk, cell=replace(cell, knobs={"drift": 0.2})))
    assert not same.has(replace(chunk, samples=(samples[1],)))
    assert not same.has(replace(chunk, samples=(replace(samples[0], seed=5),)))


def test_a_sweep_that_was_stopped_goes_on_and_is_then_remembered(
    tmp_path: Path, evaluator: Evaluator
) -> None:
    store = TuningStore(_settings(tmp_path), CONDITIONS, read_samples(1), DRIFT)
    stopped, fresh = DrawnMethod(stop_after=2), DrawnMethod()
    with pytest.raises(KeyboardInterrupt):
        store.tune(stopped, evaluator, SILENT)
    assert store.read("coupled") is None
    tuned = store.tune(fresh, evaluator, SILENT)
    assert (len(stopped.drawn), len(fresh.drawn)) == (2, 1)
    assert tuned.num_evaluations == 3
    assert tuned.default_objective is not None
    assert tuned.objective is not None
    assert tuned.objective >= tuned.default_objective
    assert tuned.main_knob == DRIFT
    assert store.read("coupled") == tuned


def test_a_method_without_knobs_is_not_searched(tmp_path: Path, evaluator: Evaluator) -> None:
    method = DrawnMethod("random-seed", knobs=(), main_knob=None)
    store = TuningStore(_settings(tmp_path), CONDITIONS, read_samples(1), DRIFT)
    assert store.tune(method, evaluator, SILENT) == Tuned(
        "random-seed", {}, None, None, 0, None, {}
    )
    assert method.drawn == []


def test_a_curve_follows_the_main_knob_and_keeps_the_others() -> None:
    main = Knob("switch", 0.0, 1.0, 0.1)
    tuned = [
        Tuned("p2p", {"switch": 0.3, "other": 7.0}, 1.0, 1.0, 2, main, {}),
        Tuned("random-seed", {}, None, None, 0, None, {}),
    ]
    cells = list_trade_off(tuned, num_points=3)
    assert [cell.knobs for cell in cells[:3]] == [
        {"switch": value, "other": 7.0} for value in (0.0, 0.25, 1.0)
    ]
    assert [cell.variant for cell in cells] == ["switch = 0", "switch = 0.25", "switch = 1", ""]


def test_whole_numbers_stand_on_a_curve_once() -> None:
    assert spread(Knob("layers", 1, 3, 1, integer=True), 6) == [1.0, 2.0, 3.0]
