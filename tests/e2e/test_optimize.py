"""`coupled optimize` from a prompt set to a schedule file that a build takes, on the miniature."""

import json
from pathlib import Path
from typing import Any

import pytest

from coupled_core.research.evaluation.pairs import FLOOR_OBJECTIVE
from coupled_core.schedules.schedule_file import load_schedule
from tests.coupled_command import Coupled
from tests.optimize_command import NUM_TRIALS, SCHEDULE, optimize_arguments, read_trials

pytestmark = pytest.mark.timeout(600)


def test_a_search_writes_a_schedule_that_loads_and_says_how_it_was_fitted(optimised: Path) -> None:
    schedule = load_schedule(optimised / SCHEDULE)
    assert (schedule.optimised, schedule.mode, schedule.num_inference_steps) == (
        True,
        "key_scale",
        2,
    )
    assert schedule.fit is not None
    assert [stage["name"] for stage in schedule.fit["stages"]] == ["sine", "knots"]
    assert sum(len(stage["objectives"]) for stage in schedule.fit["stages"]) == 3
    assert len(schedule.fit["finalists"]) == 2
    for side in ("train", "validation"):
        objective = schedule.fit[side]["objective"]
        assert FLOOR_OBJECTIVE <= objective["low"] <= objective["mean"] <= objective["high"]
    assert schedule.fit["against"]["difference"]["count"] == 1
    assert schedule.fit["at_steps"][0]["num_inference_steps"] == 2
    assert (optimised / SCHEDULE).with_suffix(".png").stat().st_size > 10_000


def test_one_document_goes_to_standard_output_and_progress_with_the_best_so_far_elsewhere(
    optimised: Path,
) -> None:
    printed = json.loads((optimised / "output.json").read_text())
    written: dict[str, Any] = json.loads((optimised / SCHEDULE).read_text())
    assert printed["schedule_id"] == written["id"]
    assert printed["report"]["validation"] == written["fit"]["validation"]
    progress = (optimised / "errors.txt").read_text()
    assert "evaluations: " in progress
    assert "best J " in progress
    assert "Traceback" not in progress


def test_the_same_command_again_evaluates_nothing_and_ends_with_the_same_file(
    optimised: Path, prefect_url: str
) -> None:
    path = optimised / SCHEDULE
    before, trials = path.read_bytes(), read_trials(optimised)
    assert len(trials) == NUM_TRIALS
    path.unlink()
    code, output, errors = Coupled(optimised, {"PREFECT_API_URL": prefect_url}).run(
        *optimize_arguments()
    )
    assert code == 0, errors
    assert "validation  J " in output
    assert path.read_bytes() == before
    assert read_trials(optimised) == trials


def test_a_schedule_so_found_can_be_generated_with(coupled: Coupled, optimised: Path) -> None:
    prompts = ("a red car in a green meadow at noon", "a blue tent in a green meadow at noon")
    schedule = str(optimised / SCHEDULE)
    code, _, errors = coupled.run(
        "generate", *prompts, "-o", "pair.png", "--schedule", schedule, "--num-inference-steps", "2"
    )
    assert code == 0, errors


def test_candidates_side_by_side_lead_to_the_same_schedule(
    coupled: Coupled, optimised: Path
) -> None:
    code, _, errors = coupled.run(*optimize_arguments("--workers", "2"))
    assert code == 0, errors
    assert (coupled.folder / SCHEDULE).read_bytes() == (optimised / SCHEDULE).read_bytes()
