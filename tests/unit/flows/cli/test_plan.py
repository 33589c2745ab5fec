"""`coupled plan`: its options are the build's, its text and JSON say what a build would do."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from coupled_core.generation.provenance import may_have_accelerator
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
    assert plan_options == {*build_options, "count_tokens", "gpu_usd_per_hour"}


def test_it_prints_what_a_build_would_do(run_plan, tmp_path: Path) -> None:
    result = run_plan("--shard-size", "10")
    assert result.exit_code == 0, result.output
    assert "pairs           72: 0 in coupled-dataset already, 72 left" in result.output
    assert "shards          4 of up to 10 groups" in result.output
    assert "offline rules (a language model only with --splitter anthropic)" in result.output
    assert list(tmp_path.iterdir()) == []


_WITHOUT_TORCH = """
import sys
from flows.cli.main import app
app(["plan", "--json"], standalone_mode=False)
print(sorted(sys.modules.keys() & {"torch", "open_clip", "diffusers", "scipy"}), file=sys.stderr)
"""


@pytest.mark.skipif(may_have_accelerator(), reason="torch is asked for the accelerator's name")
def test_it_needs_neither_torch_nor_what_imports_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TORCH], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["texts"]["num_groups_counted"] == 40
    assert done.stderr.splitlines()[-1] == "[]"


def test_a_key_in_the_environment_changes_nothing(
    run_plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = run_plan().output
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-made-up")
    assert run_plan().output == without
    assert "free of charge" in without


def test_a_missing_cap_is_pointed_out_unless_none_is_wanted(run_plan) -> None:
    missing = "none: a build needs --max-llm-usd, or --no-cap"
    assert missing in run_plan("--splitter", "anthropic").output
    assert missing not in run_plan("--splitter", "anthropic", "--no-cap").output


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


def test_validate_and_plan_name_the_columns_that_mean_nothing(run_plan, tmp_path: Path) -> None:
    path = tmp_path / "set.parquet"
    prompts = ["A red kite flies over a beach", "A blue balloon floats over a beach"]
    pq.write_table(pa.table({"group_id": ["g"], "prompts": [prompts], "Seed": [7]}), path)
    for command in ("validate", "plan"):
        text = CliRunner().invoke(app, [command, "--prompts", str(path)])
        assert "only carried into `extra`: Seed (did you mean seed?; 1 row)" in text.output
        found = CliRunner().invoke(app, [command, "--prompts", str(path), "--json"])
        assert json.loads(found.stdout)["unknown_columns"] == [
            {"name": "Seed", "meant": "seed", "num_rows": 1}
        ]


def test_several_sets_add_up(run_plan, tmp_path: Path) -> None:
    prompts = ["A red kite flies over a beach", "A blue balloon floats over a beach"]
    for name in "abc":
        table = pa.table({"group_id": [name], "prompts": [prompts]})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    result = run_plan("--prompts", "a.parquet", "--prompts", "b.parquet", "--json")
    assert json.loads(result.stdout)["groups"] == 2
    both = ["validate", "a.parquet", "--prompts", "b.parquet", "--prompts", "c.parquet"]
    assert "a.parquet, b.parquet, c.parquet: 3 groups" in CliRunner().invoke(app, both).output
    both = ["validate", "a.parquet", "b.parquet"]
    assert "a.parquet, b.parquet: 2 groups" in CliRunner().invoke(app, both).output


def test_the_sets_of_a_command_take_the_place_of_those_of_the_environment(
    run_plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUPLED_PROMPTS__URI", "miniature-train")
    assert "miniature-train: " in CliRunner().invoke(app, ["validate"]).output
    found = CliRunner().invoke(app, ["validate", "miniature-test"]).output
    assert found.startswith("miniature-test: ")


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


def test_validate_says_what_models_would_cut_or_not_know(tmp_path: Path) -> None:
    long = " ".join(["in a vibrant meadow at noon"] * 12)
    kites = [f"A {colour} kite {long}" for colour in ("red", "blue")]
    script = ["\u4e00\u53ea\u7ea2\u8272\u98ce\u7b5d", "\u4e00\u4e2a\u84dd\u8272\u6c14\u7403"]
    path = tmp_path / "set.jsonl"
    rows = [{"group_id": "kites", "prompts": kites}, {"group_id": "script", "prompts": script}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = CliRunner().invoke(app, ["validate", str(path), "--json"])
    assert result.exit_code == 0, result.output
    texts = json.loads(result.stdout)["texts"]
    assert [count["num_longer"] >= 2 for count in texts["counts"]] == [True, True, True]
    assert texts["num_refused"] == {"unknown_script": 1}
    shown = CliRunner().invoke(app, ["validate", str(path)]).output
    assert "prompts" in shown and "are cut" in shown
    assert "1 group will be refused: unknown_script 1" in shown


def test_validate_goes_on_without_a_model_that_is_not_there(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["validate", "--base-model", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["texts"] is None and document["num_groups"] > 0
