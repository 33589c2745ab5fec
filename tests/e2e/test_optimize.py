"""`coupled optimize` from a prompt set to its report, on the miniature."""

import json
from pathlib import Path
from typing import Any

import pytest

from coupled_core.schedules.schedule_file import load_schedule
from tests.coupled_command import Coupled
from tests.optimize_command import REPORT, SCHEDULE, optimize_arguments, read_trials

pytestmark = pytest.mark.timeout(900)


def _read_report(folder: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((folder / REPORT).read_text())
    return report


def test_a_search_says_how_the_race_went(optimised: Path) -> None:
    report = _read_report(optimised)
    (first,) = report["rounds"]
    assert (first["num_groups"], len(first["standings"])) == (1, 3)
    assert {each["family"] for each in first["standings"]} == {"isotonic"}
    assert len(report["finals"]) == first["num_left"] <= 2
    for standing in report["finals"]:
        assert standing["differences"]["combined"]["count"] == 2
        assert "right_fraction" in standing["means"] and "stock_overlap" in standing["means"]
    assert (optimised / SCHEDULE).with_suffix(".png").stat().st_size > 10_000


def test_a_schedule_is_written_exactly_where_the_report_has_a_winner(optimised: Path) -> None:
    winner = _read_report(optimised)["winner"]
    assert (optimised / SCHEDULE).exists() == (winner is not None)
    if winner is None:
        assert "NOTHING BETTER WAS FOUND" in (optimised / "errors.txt").read_text()
    else:
        schedule = load_schedule(optimised / SCHEDULE)
        assert (schedule.optimised, schedule.mode) == (True, "key_scale")


def test_one_document_goes_to_standard_output_and_power_and_progress_elsewhere(
    optimised: Path,
) -> None:
    printed = json.loads((optimised / "output.json").read_text())
    report = _read_report(optimised)
    assert printed["result"] == {k: v for k, v in report.items() if k != "settings"}
    said = (optimised / "errors.txt").read_text()
    assert "2 groups in the finals can detect a difference of J of" in said
    assert "groups: " in said and "Traceback" not in said


def test_the_same_command_again_evaluates_nothing_and_ends_with_the_same_files(
    optimised: Path, prefect_url: str
) -> None:
    path = optimised / REPORT
    before, trials = path.read_bytes(), read_trials(optimised)
    assert trials
    path.unlink()
    code, output, errors = Coupled(optimised, {"PREFECT_API_URL": prefect_url}).run(
        *optimize_arguments()
    )
    assert code == 0, errors
    assert "round 1     3 candidates, 1 groups" in output
    assert path.read_bytes() == before
    assert read_trials(optimised) == trials


def test_candidates_side_by_side_lead_to_the_same_report(coupled: Coupled, optimised: Path) -> None:
    code, _, errors = coupled.run(*optimize_arguments("--workers", "2"))
    assert code == 0, errors
    assert (coupled.folder / REPORT).read_bytes() == (optimised / REPORT).read_bytes()
