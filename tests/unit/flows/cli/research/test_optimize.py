"""Options of `coupled optimize`, up to the settings and no further; and its worker processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from coupled_core.research.evaluation.intervals import Interval
from coupled_core.research.optimization.judgement import (
    FitReport,
    ScheduleComparison,
    ScheduleScores,
)
from coupled_core.research.optimization.settings import OptimizeSettings
from flows.cli.research.optimize import describe_power, describe_unless_better
from flows.cli.setting import Offer
from flows.cli.settings import read_settings
from flows.optimize_schedule import OptimizeSummary
from tests.unit.flows.cli.invoke import run

ROOT = Path(__file__).parents[5]
GIVEN = {
    "optimize.output": "out/mine.json",
    "optimize.family": "sine",
    "optimize.coupling_mode": "key_scale",
    "optimize.budget": "12",
    "optimize.num_finalists": "4",
    "optimize.num_final_noises": "2",
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
    assert (settings.family, settings.coupling_mode, settings.budget) == ("sine", "key_scale", 12)
    assert (settings.num_finalists, settings.num_final_noises) == (4, 2)
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
    for name in ("--prompts", "--base-model", "--family", "--coupling-mode", "--budget",
                 "--num-groups", "--seed", "--output", "--check-steps", "--against", "--workers",
                 "--num-finalists", "--num-final-noises", "--num-knots"):  # fmt: skip
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


def summarise(difference: tuple[float, float, float], before: str = "other") -> OptimizeSummary:
    scores = ScheduleScores(Interval(4.0, 3.9, 4.1, 8), 0.0, None, None, 40.0, 8)
    against = ScheduleComparison(before, "sine", "", scores, Interval(*difference, 8))
    return OptimizeSummary(
        "mine.json", "id", "sine", {}, 3, "mine.png", "mine.state", (),
        FitReport(scores, scores, against, ()),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("difference", "said"),
    [((-0.1, -0.2, 0.1), "by chance, perhaps"), ((-0.3, -0.4, -0.2), "J is 0.300 lower than")],
)
def test_a_schedule_that_is_worse_than_the_one_before_is_said_loudly(
    difference: tuple[float, float, float], said: str
) -> None:
    warning = describe_unless_better(summarise(difference))
    assert warning is not None and "WORSE THAN BEFORE" in warning and said in warning
    assert "unless --schedule mine.json is named" in warning


def test_a_schedule_that_may_be_level_is_no_better_and_it_is_said_what_could_be_seen() -> None:
    warning = describe_unless_better(summarise((0.1, -0.18, 0.38)))
    assert warning is not None and "NOTHING BETTER WAS FOUND" in warning
    assert "a difference of 0.400 would have been found" in warning


def test_a_search_that_comes_back_to_the_schedule_before_says_so() -> None:
    warning = describe_unless_better(summarise((0.0, 0.0, 0.0), before="id"))
    assert warning == "NOTHING BETTER WAS FOUND: the best candidate is the schedule before"


def test_nothing_is_said_of_a_schedule_that_is_better() -> None:
    assert describe_unless_better(summarise((0.3, 0.1, 0.5))) is None


def test_what_a_search_can_find_is_said_with_the_groups_that_a_small_difference_takes() -> None:
    said = describe_power(16)
    assert "16 validation groups find a difference of J of 0.175" in said
    assert "0.05 would take 197, so --num-groups 394" in said
