"""`coupled plan`: its options are the build's, its text and JSON say what a build would do."""

import inspect
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows.cli.build import build
from flows.cli.main import app
from flows.cli.plan import plan


@pytest.fixture
def run_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["plan", *arguments])


def test_it_takes_every_option_of_build() -> None:
    build_options = set(inspect.signature(build.callback).parameters)
    plan_options = set(inspect.signature(plan.callback).parameters)
    assert plan_options == {*build_options, "count_tokens"}


def test_it_prints_what_a_build_would_do(run_plan, tmp_path: Path) -> None:
    result = run_plan("--shard-size", "10")
    assert result.exit_code == 0, result.output
    assert "pairs           72: 0 in coupled-dataset already, 72 left" in result.output
    assert "shards          4 of up to 10 groups" in result.output
    assert "offline rules (ANTHROPIC_API_KEY is not set)" in result.output
    assert list(tmp_path.iterdir()) == []


def test_json_has_the_prices_and_the_cap(run_plan) -> None:
    result = run_plan("--splitter", "anthropic", "--max-llm-usd", "0.001", "--json")
    plan = json.loads(result.stdout)
    assert plan["groups"] == plan["splits"]["groups_to_ask"] == 40
    assert plan["splits"]["usd_batch"] == pytest.approx(plan["splits"]["usd_online"] / 2)
    assert plan["splits"]["max_llm_usd"] == 0.001
    assert plan["gpu_seconds"] is None


def test_a_cap_below_the_estimate_is_pointed_out(run_plan) -> None:
    output = run_plan("--splitter", "anthropic", "--max-llm-usd", "0.001").output
    assert "$0.0010: below the estimate" in output
    assert "above the estimate" in run_plan("--splitter", "anthropic", "--max-llm-usd", "9").output


def test_a_wrong_set_is_one_line_and_exit_code_two(run_plan) -> None:
    result = run_plan("--prompts", "none.parquet")
    assert result.exit_code == 2


def test_it_names_the_models_that_judge_and_what_is_kept(run_plan) -> None:
    result = run_plan()
    assert "scores          Segment Anything miniature, CLIP miniature" in result.output
    assert "kept            from J 4.4 on; content filter off" in result.output


@pytest.mark.parametrize("bound", ["nan", "inf", "-inf"])
def test_a_threshold_that_is_not_finite_is_refused(run_plan, bound: str) -> None:
    result = run_plan("--min-combined", bound)
    assert result.exit_code != 0
    assert "finite" in result.output
