"""The command line in this process: help, checks of input, errors and exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.coupled_command import write_prompts
from tests.unit.flows.cli.invoke import run


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("flows.cli.main", {"torch", "prefect", "pyarrow", "boto3", "numpy", "yaml"}),
        ("flows.build_dataset", {"diffusers", "transformers", "open_clip", "segment_anything"}),
    ],
)
def test_help_and_refusals_do_not_wait_for_what_they_do_not_need(
    module: str, heavy: set[str]
) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert heavy & set(shown.stdout.split()) == set()


def test_validate_counts_a_good_set(tmp_path: Path) -> None:
    path = write_prompts(tmp_path / "set.parquet")
    code, output, _ = run("validate", str(path), "--json")
    assert code == 0
    assert (json.loads(output)["num_groups"], json.loads(output)["num_prompts"]) == (4, 9)
    assert run("validate", "--prompts", str(path), "--json")[1] == output


def test_a_missing_prompt_set_is_one_line_and_code_2(tmp_path: Path) -> None:
    code, output, errors = run("validate", str(tmp_path / "nothing.parquet"))
    assert (code, output) == (2, "")
    assert errors.startswith("error: ") and errors.count("\n") == 1


def test_show_of_an_empty_folder_says_how_to_make_a_dataset(tmp_path: Path) -> None:
    code, _, errors = run("show", str(tmp_path))
    assert code == 4
    assert "coupled build" in errors


def test_a_missing_model_is_code_3(tmp_path: Path) -> None:
    prompts = ("a red fox in a snowy forest at dawn", "a grey owl in a snowy forest at dawn")
    picture, model = str(tmp_path / "pair.png"), str(tmp_path / "no-model")
    code, _, errors = run("generate", *prompts, "-o", picture, "--base-model", model)
    assert code == 3
    assert errors.startswith("error: ")


def test_prompts_without_a_common_background_are_code_2(tmp_path: Path) -> None:
    prompts = ("a red fox asleep", "two boats under the moon")
    code, _, errors = run("generate", *prompts, "-o", str(tmp_path / "pair.png"))
    assert code == 2
    assert "background" in errors or "words in common" in errors


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    _, _, errors = run("show", str(tmp_path), "--debug")
    assert "Traceback" in errors
