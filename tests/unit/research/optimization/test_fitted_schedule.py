"""What is written of a race: a report, a picture, and a schedule only where there is a winner."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from coupled_core.records import RejectReason
from coupled_core.research.evaluation.pairs import FLOOR_OBJECTIVE, EvaluatedPair
from coupled_core.research.optimization.fitted_schedule import WrittenFiles, write_outcome
from coupled_core.research.optimization.racing import (
    RaceResult,
    hold_finals,
    plan_rounds,
    race,
)
from coupled_core.research.optimization.settings import OptimizeSettings
from coupled_core.research.optimization.trial import Trial, TrialRecords
from coupled_core.schedules.schedule_file import load_schedule
from coupled_core.storage.open_store import open_store
from tests.unit.research.optimization.known_pairs import (
    BEFORE,
    KnownTrials,
    make_pair,
    schedule_worth,
)

CANDIDATES = [schedule_worth(gain) for gain in (-0.2, -0.1, 0.1, 0.2)]


@pytest.fixture(scope="module")
def result() -> RaceResult:
    trials, rounds = KnownTrials(0.1), plan_rounds(4, 8, 1, 100)
    results = race(BEFORE, CANDIDATES, rounds, 1, "combined", trials)
    finalists = [results[-1].standings[0].schedule]
    finals, means, winner = hold_finals(BEFORE, finalists, 40, "combined", trials)
    assert winner is not None
    return RaceResult("combined", BEFORE, means, results, finals, winner)


def publish(result: RaceResult, folder: Path) -> WrittenFiles:
    return write_outcome(result, OptimizeSettings(output=str(folder / "mine.json")))


def test_the_schedule_file_tells_the_race_and_is_the_same_whatever_folder_it_goes_to(
    tmp_path: Path, result: RaceResult
) -> None:
    written = [publish(result, tmp_path / name).schedule for name in ("a", "b")]
    assert written[0] is not None and written[1] is not None
    assert written[0].read_bytes() == written[1].read_bytes()
    schedule = load_schedule(written[0])
    assert schedule.optimised and schedule.parameters == {"center": 0.2}
    assert schedule.fit is not None
    assert [each["num_groups"] for each in schedule.fit["rounds"]] == [8, 16]
    assert schedule.fit["finals"][0]["differences"]["combined"]["count"] == 40
    assert "race of 4 candidates; on 40 groups that were not raced on" in schedule.note
    report = json.loads(publish(result, tmp_path / "c").report.read_text())
    assert report == schedule.fit


def test_where_nothing_better_was_found_no_schedule_is_written(
    tmp_path: Path, result: RaceResult
) -> None:
    files = publish(replace(result, winner=None), tmp_path)
    assert files.schedule is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.png", "mine.report.json"]
    assert json.loads(files.report.read_text())["winner"] is None


def test_the_picture_is_the_same_every_time_and_shows_two_plots(
    tmp_path: Path, result: RaceResult
) -> None:
    pictures = [publish(result, tmp_path / name).picture for name in ("a", "b")]
    assert pictures[0].read_bytes() == pictures[1].read_bytes()
    image = Image.open(pictures[0]).convert("L")
    left, right = (image.crop((x, 60, x + 500, 360)) for x in (40, 590))
    assert all(len(side.getcolors() or []) > 20 for side in (left, right))


def test_trials_come_back_from_disk_as_they_were(tmp_path: Path) -> None:
    records = TrialRecords(open_store(tmp_path))
    trial = Trial(BEFORE, "race", 0, 2)
    failed = EvaluatedPair(
        "schedule", "g", 1, 0, 1, None, (RejectReason.GENERATION_FAILED,), FLOOR_OBJECTIVE, 0.0, 0.0
    )
    pairs = [make_pair(0, stock_overlap=(0.5, None), stock_outside=(0.1, None)), failed]
    assert records.read(trial) is None
    records.write(trial, pairs)
    assert records.read(trial) == pairs
    for other in ({"side": "finals"}, {"stop": 3}, {"num_inference_steps": 28}):
        assert records.read(replace(trial, **other)) is None  # type: ignore[arg-type]
    assert json.loads(next(tmp_path.rglob("*.json")).read_text())["side"] == "race"


def test_a_trial_is_known_by_its_images_not_by_what_is_said_about_it() -> None:
    renamed = replace(BEFORE, note="another", fit={"finals": 1})
    assert Trial(renamed, "race", 0, 1).key == Trial(BEFORE, "race", 0, 1).key
    assert Trial(schedule_worth(0.1), "race", 0, 1).key != Trial(BEFORE, "race", 0, 1).key
