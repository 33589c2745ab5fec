"""Options of `coupled optimize`, up to the settings and no further; and its worker processes."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from coupled_core.research.evaluation.intervals import Interval
from coupled_core.research.optimization.judgement import Standing
from coupled_core.research.optimization.racing import RaceResult, RoundResult
from coupled_core.research.optimization.settings import OptimizeSettings
from flows.cli.research.optimize import describe_power, describe_unless_better, render
from flows.cli.setting import Offer
from flows.cli.settings import read_settings
from flows.optimize_schedule import OptimizeSummary
from tests.unit.flows.cli.invoke import run
from tests.unit.research.optimization.known_pairs import BEFORE, schedule_worth

ROOT = Path(__file__).parents[5]
GIVEN = {
    "optimize.output": "out/mine.json",
    "optimize.family": "sine",
    "optimize.coupling_mode": "key_scale",
    "optimize.objective": "background_similarity_clear",
    "optimize.num_candidates": "12",
    "optimize.first_groups": "4",
    "optimize.num_finalists": "3",
    "optimize.num_final_groups": "20",
    "optimize.spread": "0.25",
    "optimize.check_steps": "28, 20,28",
    "prompts.uri": "train.parquet",
    "generation.seed": "5",
    "generation.num_inference_steps": "10",
}
PROGRAM = """
import multiprocessing, os, time
from concurrent.futures import ProcessPoolExecutor
from flows.worker_process import end_with_parent

if __name__ == "__main__":
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawned, initializer=end_with_parent) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        time.sleep(600)
"""


def test_options_become_settings_of_the_search_and_of_the_run_below_it() -> None:
    settings = read_settings(OptimizeSettings, GIVEN, Offer(section="optimize"))
    assert (settings.family, settings.coupling_mode) == ("sine", "key_scale")
    assert settings.objective == "background_similarity_clear"
    assert (settings.num_candidates, settings.first_groups, settings.spread) == (12, 4, 0.25)
    assert (settings.num_finalists, settings.num_final_groups) == (3, 20)
    assert settings.check_steps == (28, 20)
    assert settings.run.prompts.uri == "train.parquet"
    generation = settings.run.generation
    assert (generation.seed, generation.num_inference_steps) == (5, 10)
    assert settings.run.output.uri == "coupled-dataset"  # -o is the schedule's, not a dataset's
    assert settings.state_folder == Path("out/mine.state")


@pytest.mark.parametrize(("steps", "wrong"), [("20,many", "'many'"), ("0,20", "'0'")])
def test_step_counts_that_are_none_are_one_line_and_code_2(
    tmp_path: Path, steps: str, wrong: str
) -> None:
    output = str(tmp_path / "mine.json")
    code, _, errors = run("optimize", "-o", output, "--check-steps", steps)
    assert code == 2
    assert errors.startswith("error: --check-steps: expected ") and wrong in errors
    assert errors.count("\n") == 1


def test_help_lists_every_option_that_the_readme_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = run("optimize", "--help")[1]
    for name in ("--prompts", "--base-model", "--family", "--coupling-mode",
                 "--objective", "--num-candidates", "--first-groups", "--num-final-groups",
                 "--spread", "--seed", "--output", "--check-steps", "--against", "--workers",
                 "--num-finalists", "--num-knots"):  # fmt: skip
        assert name in shown
    assert "Exit codes" in shown
    assert "--shard-size" not in shown and shown.count("--coupling-mode") == 2  # and an example


def test_a_worker_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(program)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}  # resource trackers grumble
    with subprocess.Popen(command, env=environment, text=True, **pipes) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while _is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _is_running(worker)


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def make_standing(gain: tuple[float, float, float], *vetoes: str) -> Standing:
    schedule = schedule_worth(0.1)
    interval = Interval(*gain, 200)
    return Standing(schedule, {"combined": interval}, {"combined": interval}, vetoes)


def summarise(
    gain: tuple[float, float, float] | None, *vetoes: str, is_won: bool = False
) -> OptimizeSummary:
    finals = () if gain is None else (make_standing(gain, *vetoes),)
    rounds = (RoundResult(12, finals, len(finals)),)
    winner = schedule_worth(0.1) if is_won else None
    result = RaceResult("combined", BEFORE, {}, rounds, finals, winner)
    schedule = "mine.json" if is_won else None
    return OptimizeSummary(schedule, None, "mine.report.json", "mine.png", "mine.state", result)


def test_where_nothing_better_was_found_it_is_said_what_could_have_been() -> None:
    warning = describe_unless_better(summarise((0.1, -0.18, 0.38)))
    assert warning is not None and warning.startswith("NOTHING BETTER WAS FOUND: on the groups")
    assert "0.400 would have been found with 80 % probability" in warning
    assert "No schedule was written" in warning and "mine.report.json" in warning


def test_a_schedule_that_an_earlier_search_left_is_not_taken_for_this_ones() -> None:
    summary = replace(summarise(None), left_over="mine.json")
    warning = describe_unless_better(summary)
    assert warning is not None and "the mine.json there is an earlier search's" in warning


def test_a_gain_that_is_paid_for_is_none_and_it_is_said_with_what() -> None:
    warning = describe_unless_better(summarise((0.3, 0.2, 0.4), "stock_outside"))
    assert warning is not None and "makes worse what must not fall: stock_outside" in warning


def test_too_few_groups_are_named_as_the_reason() -> None:
    summary = summarise((0.3, 0.2, 0.4))
    few = Interval(0.3, 0.2, 0.4, 7)
    standing = replace(summary.result.finals[0], differences={"combined": few})
    warning = describe_unless_better(
        replace(summary, result=replace(summary.result, finals=(standing,)))
    )
    assert warning is not None and "but 7 groups are too few to decide by" in warning


def test_a_race_that_nobody_came_through_says_so() -> None:
    warning = describe_unless_better(summarise(None))
    assert warning is not None and "no candidate came to the finals" in warning


def test_nothing_is_said_of_a_winner_and_its_figures_are_shown() -> None:
    summary = summarise((0.3, 0.1, 0.5), is_won=True)
    assert describe_unless_better(summary) is None
    shown = render(summary, 12.0)
    assert "schedule    mine.json" in shown
    assert "+0.300 [0.100, 0.500]" in shown


def test_what_a_search_can_find_is_said_with_the_groups_that_a_small_difference_takes() -> None:
    said = describe_power(16)
    assert "16 groups in the finals can detect a difference of J of 0.175 with 80 %" in said
    assert "0.05 takes 197, so some 394 groups in the prompt set" in said
    clear = describe_power(200, "background_similarity_clear")
    assert "S clear of the masks of 0.416" in clear and "0.4 takes 217" in clear
