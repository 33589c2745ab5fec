"""The command line in this process."""

import json
from typing import Any

from typer.testing import CliRunner

from flows.cli.main import app


def run(*arguments: str) -> tuple[int, str, str]:
    """Run `coupled` with arguments; return exit code, standard output, standard error."""
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def run_json(*arguments: str) -> Any:
    """Run a command that must succeed, with `--json`; return its document."""
    code, output, errors = run(*arguments, "--json")
    assert code == 0, errors
    return json.loads(output)
