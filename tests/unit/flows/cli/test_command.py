"""The grammar that all commands share."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.storage.local import LocalStore
from flows.cli.main import app
from tests.sample_shards import describe_run, publish
from tests.unit.flows.cli.invoke import run, run_json

ROOT = Path(__file__).parents[4]
COMMANDS = [str(command.name) for command in app.registered_commands]
ON_DATASETS = (
    "show", "files", "snapshots", "diff", "rollback", "verify", "recut", "dedup", "repartition",
    "compact", "regen", "gc", "report", "review", "export",
)  # fmt: skip


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    store = LocalStore(tmp_path / "pairs")
    commit_shards(store, [publish(store, "run", 0)], describe_run("run"))
    return str(tmp_path / "pairs")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_has_the_same_switches(command: str) -> None:
    code, output, _ = run(command, "-h")
    assert code == 0
    for word in ("Exit codes", "--json", "--quiet", "--verbose", "--debug"):
        assert word in output
    assert output == run(command, "--help")[1]


@pytest.mark.parametrize("command", ON_DATASETS)
def test_every_command_on_a_dataset_takes_it_first_or_as_an_option(command: str) -> None:
    output = run(command, "-h")[1]
    assert "[DATASET]" in output and "--dataset" in output


def test_a_dataset_is_the_first_argument_an_option_or_a_setting(
    dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = run_json("show", dataset)
    assert run_json("show", "--dataset", dataset) == shown
    monkeypatch.setenv("COUPLED_OUTPUT__URI", dataset)
    assert run_json("show") == shown


def test_a_word_after_the_dataset_is_told_from_it(
    dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = run("rollback", "current", "--dataset", dataset)
    assert expected[0] == 0
    assert run("rollback", dataset, "current") == expected
    monkeypatch.setenv("COUPLED_OUTPUT__URI", dataset)
    assert run("rollback", "current") == expected


def test_two_datasets_are_refused(dataset: str) -> None:
    code, _, errors = run("show", dataset, "--dataset", "other")
    assert (code, errors.count("\n")) == (2, 1)
    assert dataset in errors and "other" in errors


@pytest.mark.parametrize(
    ("command", "word"),
    [("rollback", "SNAPSHOT"), ("regen", "PAIR_ID"), ("export", "FORMAT")],
)
def test_a_missing_word_is_named(command: str, word: str) -> None:
    output = ("-o", "somewhere") if command == "export" else ()
    code, _, errors = run(command, *output)
    assert (code, errors.count("\n")) == (2, 1)
    assert f"expected {word}" in errors


@pytest.mark.parametrize(
    ("option", "meant"),
    [("--num-steps", "--num-inference-steps"), ("--steps", "--num-inference-steps"),
     ("--min-combine", "--min-combined")],
)  # fmt: skip
def test_an_option_that_does_not_exist_is_answered_with_one_that_does(
    option: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    code, _, errors = run("build", option, "3")
    assert code == 2
    assert f"did you mean {meant}?" in errors


def test_quiet_leaves_results_and_errors(dataset: str, tmp_path: Path) -> None:
    code, output, errors = run("verify", dataset, "--quiet")
    assert (code, errors) == (0, "")
    assert "is whole" in output
    assert run("show", str(tmp_path), "--quiet")[2].startswith("error: ")


def test_a_flag_of_the_environment_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUPLED_OUTPUT__STORE_DROPPED", "perhaps")
    code, _, errors = run("plan")
    assert code == 2 and "COUPLED_OUTPUT__STORE_DROPPED" in errors
    code, _, errors = run("plan", "--no-store-dropped", "--prompts", "none.parquet")
    assert code == 2 and "none.parquet" in errors


def _documented() -> Iterator[tuple[str, str]]:
    """Yield every option of a command line that a README, or an example of a help page, names."""
    readmes = [ROOT / "README.md"]
    readmes += [p for top in ("coupled_core", "flows", "infra") for p in (ROOT / top).rglob("*.md")]
    texts = [path.read_text().replace("\\\n", " ") for path in readmes]
    texts += [str(command.epilog).replace("\n--", " --") for command in app.registered_commands]
    for text in texts:
        for command, rest in re.findall(
            r"(?:^|`)\s*coupled ([a-z-]+)([^`\n#]*)", text, re.MULTILINE
        ):
            for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", rest):
                yield command, option


def test_every_documented_option_exists() -> None:
    commands = typer.main.get_group(app).commands
    known = {
        (name, option)
        for name, command in commands.items()
        for param in [*command.params, *command.get_params(typer.Context(command))]
        for option in (*param.opts, *param.secondary_opts)
    }
    documented = set(_documented())
    assert len(documented) > 30
    assert documented - known == set()
