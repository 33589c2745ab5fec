"""What is reported of pairs whose objectives are known, and what is written of it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from coupled_core.records import PairScores, RejectReason
from coupled_core.research.evaluation.pairs import FLOOR_OBJECTIVE, EvaluatedPair, objective_of
from coupled_core.research.optimization.fitted_schedule import finish_schedule, write_schedule
from coupled_core.research.optimization.judgement import FitReport, judge_schedule
from coupled_core.research.optimization.schedule_search import FoundSchedule, make_schedule
from coupled_core.research.optimization.settings import OptimizeSettings
from coupled_core.research.optimization.trial import Trial, TrialRecords
from coupled_core.schedules.schedule import Schedule
from coupled_core.schedules.schedule_file import load_schedule
from coupled_core.storage.open_store import open_store
from tests.unit.research.optimization.test_schedule_search import FITTED_ON, find

FOUND = make_schedule("sine", {"center": 0.1, "width": 0.1}, FITTED_ON)
BEFORE = make_schedule("sine", {"center": 0.2, "width": 0.1}, FITTED_ON)


def make_pair(group: int, combined: float, *guards: RejectReason) -> EvaluatedPair:
    scores = PairScores(
        0.1, 0.9, -2.0, 0.9, 0.9, 90.0, combined, 0.5, 0.5, 30.0, 0.9, 100.0, 0.5, -0.2, 0.3
    )
    objective = objective_of(scores, guards)
    return EvaluatedPair(
        "schedule",
        f"g{group}",
        0,
        0,
        1,
        scores,
        guards,
        objective,
        seconds=1.0,
        model_evaluations=7.0,
    )


def run(trials: list[Trial]) -> list[list[EvaluatedPair]]:
    """The found schedule is 0.5 better than the other; 0.1 worse on prompts that it never saw;
    0.2 worse at other step counts; a tenth of its pairs lose an entity."""
    return [_run(trial) for trial in trials]


def _run(trial: Trial) -> list[EvaluatedPair]:
    worse = 0.5 * (trial.schedule == BEFORE) + 0.1 * (trial.side == "validation")
    worse += 0.2 * (trial.num_inference_steps is not None)
    pairs = [make_pair(i, 4.0 + 0.01 * i - worse) for i in range(9)]
    return [*pairs, make_pair(9, 6.0, "empty_mask")]


@pytest.fixture(scope="module")
def report() -> FitReport:
    return judge_schedule(FOUND, BEFORE, (20, 28), run)


def test_both_sides_are_reported_and_guarded_pairs_count_the_floor(report: FitReport) -> None:
    honest = sum(4.0 + 0.01 * i for i in range(9))
    assert report.train.objective.mean == pytest.approx((honest + FLOOR_OBJECTIVE) / 10)
    assert report.train.objective.mean - report.validation.objective.mean == pytest.approx(0.09)
    assert report.train.guarded_fraction == pytest.approx(0.1)
    assert report.validation.background_similarity == pytest.approx(-2.0)
    assert report.validation.model_evaluations == 7.0


def test_the_difference_to_the_schedule_before_is_paired(report: FitReport) -> None:
    assert report.against is not None
    difference = report.against.difference
    assert difference.mean == pytest.approx(0.45)
    assert 0.3 <= difference.low <= difference.high <= 0.5 + 1e-9
    assert difference.high - difference.low < report.validation.objective.high - 3.0


def test_its_own_step_count_is_not_run_twice_and_others_are_compared_with_it(
    report: FitReport,
) -> None:
    own, other = report.at_steps
    assert (own.num_inference_steps, own.difference.mean) == (20, 0.0)
    assert (other.num_inference_steps, other.difference.mean) == (28, pytest.approx(-0.18))


def test_without_a_schedule_before_there_is_no_comparison() -> None:
    assert judge_schedule(FOUND, None, (), run).against is None


def test_the_schedule_file_tells_the_fit_and_is_the_same_whatever_folder_it_goes_to(
    tmp_path: Path, report: FitReport
) -> None:
    found = find(tmp_path / "state", "isotonic", 12)
    written = [_publish(found, report, tmp_path / name / "mine.json") for name in ("a", "b")]
    assert written[0].read_bytes() == written[1].read_bytes()
    schedule = load_schedule(written[0])
    assert schedule.optimised
    assert schedule.fit is not None
    assert schedule.fit["validation"]["objective"]["count"] == 10
    assert [len(stage["objectives"]) for stage in schedule.fit["stages"]] == [5, 7]
    assert schedule.fit["settings"]["budget"] == 12
    assert "12 evaluations on 10 training groups" in schedule.note


def test_the_picture_is_the_same_every_time_and_shows_two_plots(
    tmp_path: Path, report: FitReport
) -> None:
    found = find(tmp_path / "state", "isotonic", 12)
    pictures = [
        _publish(found, report, tmp_path / name / "mine.json").with_suffix(".png").read_bytes()
        for name in ("a", "b")
    ]
    assert pictures[0] == pictures[1]
    image = Image.open(tmp_path / "a" / "mine.png").convert("L")
    left, right = (image.crop((x, 60, x + 500, 360)) for x in (40, 590))
    assert all(len(side.getcolors() or []) > 20 for side in (left, right))


def test_trials_come_back_from_disk_as_they_were(tmp_path: Path) -> None:
    records = TrialRecords(open_store(tmp_path))
    trial = Trial(FOUND, "train")
    failed = EvaluatedPair(
        "schedule", "g", 1, 0, 1, None, (RejectReason.GENERATION_FAILED,), FLOOR_OBJECTIVE, 0.0, 0.0
    )
    pairs = [*_run(trial), failed]
    assert records.read(trial) is None
    records.write(trial, pairs)
    assert records.read(trial) == pairs
    assert records.read(Trial(FOUND, "validation")) is None
    assert records.read(Trial(FOUND, "train", 28)) is None
    assert json.loads(next(tmp_path.rglob("*.json")).read_text())["side"] == "train"


def test_a_trial_is_known_by_its_images_not_by_what_is_said_about_it() -> None:
    renamed = Schedule(**{**FOUND.__dict__, "note": "another", "fit": {"train": 1}})
    assert Trial(renamed, "train").key == Trial(FOUND, "train").key
    assert Trial(BEFORE, "train").key != Trial(FOUND, "train").key


def _publish(found: FoundSchedule, report: FitReport, output: Path) -> Path:
    settings = OptimizeSettings(output=str(output), budget=12)
    write_schedule(finish_schedule(found, (), report, settings), found, BEFORE, output)
    return output
