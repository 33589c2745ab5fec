"""Help must be readable in the narrowest terminal that people use."""

import pytest

from flows.cli.main import app
from tests.unit.flows.cli.invoke import run

NAMES = sorted(command.name for command in app.registered_commands if command.name)


@pytest.mark.parametrize("name", NAMES)
def test_at_80_columns_no_name_is_cut_and_no_line_is_longer(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, shown, _ = run(name, "--help")
    assert code == 0
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert shown.startswith(f"Usage: coupled {name} [OPTIONS]")


def test_an_option_stands_above_what_it_does_below_its_subject() -> None:
    shown = run("build", "--help")[1]
    panel = shown.partition("\nWhat is kept (filter)\n")[2].partition("\n\n")[0]
    assert "  --min-mask-fraction <float>\n        Least share of the image" in panel


def test_what_stands_in_brackets_is_shown() -> None:
    assert "[required]" in run("generate", "--help")[1]
