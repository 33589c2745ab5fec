"""`coupled backfill`: its table of what would be done, and what it says and does about a state."""

from pathlib import Path

import pytest

from coupled_core.config import BackfillSettings, OutputConfig, PromptSetConfig, RunConfig
from coupled_core.errors import DatasetError
from coupled_core.runs.backfill import Backfill, plan_backfill
from coupled_core.storage.local import LocalStore
from tests.unit.flows.cli.invoke import run, run_json

ROW = '{"group_id": "NAME", "prompts": ["A kite at noon", "A balloon at noon"]}'
STATE = ("--dataset", "pairs")


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Backfill:
    """A backfill of two partitions, of which the first has failed."""
    monkeypatch.chdir(tmp_path)
    Path("sets").mkdir()
    for number in (9, 10):
        Path(f"sets/{number}.jsonl").write_text(ROW.replace("NAME", str(number)))
    prompts, output = PromptSetConfig(uri="sets/*.jsonl"), OutputConfig(uri="pairs")
    plan = plan_backfill(RunConfig(prompts=prompts, output=output), BackfillSettings())
    found = Backfill(LocalStore(tmp_path / "pairs"), "autumn")
    found.write_plan(plan)

    def fail(_: RunConfig) -> None:
        raise DatasetError("no luck")

    found.build(plan.partitions[0], plan.config, "missing", fail)  # type: ignore[arg-type]
    return found


@pytest.mark.usefixtures("found")
def test_a_dry_run_is_a_table_with_totals() -> None:
    code, output, _ = run("backfill", "autumn", "--prompts", "sets/*.jsonl", *STATE, "--dry-run")
    assert code == 0
    heads, failed, to_build, total = (line.split() for line in output.splitlines())
    assert heads == ["partition", "what", "groups", "pairs", "USD", "GPU", "hours", "disk", "why"]
    assert failed[:3] == ["sets/9.jsonl", "skipped", "0"]
    assert to_build[:7] == ["sets/10.jsonl", "to", "build", "1", "1", "0.00", "unknown"]
    assert total[:6] == ["total", "1", "to", "build", "1", "1"]


@pytest.mark.usefixtures("found")
def test_partitions_that_do_not_exist_are_told_so() -> None:
    text = run("backfill", "b", "--prompts", "sets/*.jsonl", *STATE, "--first", "11", "--dry-run")
    assert text[:2] == (0, "no partition fits: nothing to do\n")


@pytest.mark.usefixtures("found")
def test_a_status_says_what_became_of_each_partition() -> None:
    document = run_json("backfill", "status", "autumn", *STATE)
    assert document["control"] == "running"
    assert [(row["outcome"], row["why"]) for row in document["partitions"]] == [
        ("failed", "DatasetError: no luck"),
        ("open", "not begun"),
    ]


@pytest.mark.parametrize(("action", "control"), [("pause", "paused"), ("cancel", "cancelled")])
def test_a_pause_or_cancellation_is_written_down(
    found: Backfill, action: str, control: str
) -> None:
    assert run("backfill", action, "autumn", *STATE)[1].startswith(f"autumn: {control}\n")
    assert found.control == control


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("stop", "autumn"), "expected NAME, or one of status, pause, resume, cancel"),
        (("status",), "expected NAME, or one of status, pause, resume, cancel"),
        (("status", "spring"), "knows no backfill 'spring'"),
        (("resume", "autumn"), "'autumn' was cancelled"),
        (("../x",), "cannot name a backfill"),
    ],
)
@pytest.mark.usefixtures("found")
def test_what_makes_no_sense_is_refused(words: tuple[str, ...], message: str) -> None:
    run("backfill", "cancel", "autumn", *STATE)
    code, _, errors = run("backfill", *words, *STATE)
    assert code == 2
    assert message in errors
