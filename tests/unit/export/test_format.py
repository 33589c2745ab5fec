"""Formats by name: those of this package, and one that another package registers."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from coupled_core.errors import ConfigError
from coupled_core.export.format import describe_formats, find_format
from coupled_core.storage.local import LocalStore
from tests.registered_package import ROOT, follow_recipe, install_package, run_with_package
from tests.unit.export.export_samples import commit_pairs, train_instructions


@pytest.mark.parametrize("name", describe_formats())
def test_a_name_leads_to_the_format_that_bears_it(name: str) -> None:
    assert find_format(name).name == name


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'webdatset': expected one of .*webdataset"):
        find_format("webdatset")


def test_listing_formats_imports_nothing_heavy() -> None:
    code = (
        "import sys; from coupled_core.export.format import describe_formats; describe_formats();"
        "print([name for name in ('numpy', 'pyarrow', 'pydantic', 'PIL') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The README's example, installed."""
    folder = tmp_path / "installed"
    folder.mkdir()
    follow_recipe("export_formats", folder)
    return folder


def _run(package: Path, *arguments: str) -> Any:
    """Run `coupled` where the package is installed; return exit code, output and errors."""
    program = f"""
import json
from typer.testing import CliRunner
from flows.cli.main import app
done = CliRunner().invoke(app, {list(arguments)!r})
print(json.dumps([done.exit_code, done.stdout, done.stderr]))
"""
    return run_with_package(package, program)


def test_the_readmes_format_of_another_package_exports_and_is_read_back(
    package: Path, tmp_path: Path
) -> None:
    store = LocalStore(tmp_path / "dataset")
    commit_pairs(store)
    where = ["--dataset", store.uri, "--output", str(tmp_path / "out")]
    code, output, errors = _run(package, "export", "my-format", *where, "--json")
    assert code == 0, errors
    answer = json.loads(output)
    assert (answer["format"], answer["edits_checked"]) == ("my-format", 12)
    captions = [path.read_text() for path in (tmp_path / "out/captions").iterdir()]
    assert sorted(captions) == sorted(text for _, text in train_instructions())


def test_help_names_the_format_of_another_package(package: Path) -> None:
    _, output, _ = _run(package, "export", "--help")
    assert "my-format" in output and "another installed package" in output


def test_a_format_that_calls_itself_otherwise_is_refused(tmp_path: Path) -> None:
    source = "class Odd:\n    name = 'odd'"
    install_package(tmp_path, "export_formats", "odd_formats", source, "even = odd_formats:Odd")
    code, _, errors = _run(tmp_path, "export", "even", "--output", str(tmp_path / "out"))
    assert code == 2
    assert "registered as 'even' calls itself 'odd'" in errors
