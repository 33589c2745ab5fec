"""Options of `coupled optimize`, up to the settings and no further."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.main import app
from flows.cli.optimize_options import read_settings

GIVEN = {
    "config": None, "output": Path("out/mine.json"), "family": "sine", "mode": "key_scale",
    "budget": 12, "groups": 6, "knots": 8, "against": None, "check_steps": "28, 20,28",
    "finalists": 4, "final_noises": 2, "workers": 1, "prompts": "train.parquet",
    "base_model": None, "seed": 5, "steps": 10,
}  # fmt: skip


def test_options_become_settings_of_the_search_and_of_the_run_below_it() -> None:
    settings = read_settings(GIVEN)
    assert (settings.family, settings.mode, settings.budget) == ("sine", "key_scale", 12)
    assert (settings.num_finalists, settings.num_final_noises) == (4, 2)
    assert settings.check_steps == (28, 20)
    assert settings.run.prompts.uri == "train.parquet"
    generation = settings.run.generation
    assert (generation.seed, generation.num_inference_steps) == (5, 10)
    assert settings.run.output.uri == "coupled-dataset"  # -o is the schedule's, not a dataset's
    assert settings.state_folder == Path("out/mine.state")


@pytest.mark.parametrize("steps", ["20,many", "0,20"])
def test_step_counts_that_are_none_are_one_line_and_code_2(tmp_path: Path, steps: str) -> None:
    output = str(tmp_path / "mine.json")
    result = CliRunner().invoke(app, ["optimize", "-o", output, "--check-steps", steps])
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --check-steps expects")
    assert result.stderr.count("\n") == 1


def test_help_lists_every_option_that_the_readme_names() -> None:
    shown = CliRunner().invoke(app, ["optimize", "--help"], env={"COLUMNS": "200"}).stdout
    for name in ("--prompts", "--base-model", "--family", "--mode", "--budget", "--groups",
                 "--seed", "--output", "--check-steps", "--against", "--workers",
                 "--finalists", "--final-noises"):  # fmt: skip
        assert name in shown
    assert "Exit codes" in shown
