"""Formats by name: those of this package, and one that another package registers."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from coupled_core.errors import ConfigError
from coupled_core.export.format import describe_formats, find_format
from coupled_core.storage.local import LocalStore
from tests.registered_package import ROOT, install_package, run_with_package
from tests.unit.export.export_samples import commit_pairs, read_lines, train_instructions

README = ROOT / "coupled_core" / "export" / "README.md"


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
    section = README.read_text(encoding="utf-8").split("\n## A format of your own\n", 1)[1]
    [source] = re.findall(r"```python\n(.*?)```", section.split("\n## ", 1)[0], re.DOTALL)
    [table] = re.findall(r"```toml\n(.*?)```", section, re.DOTALL)
    entry_points = tomllib.loads(table)["project"]["entry-points"]
    return install_package(tmp_path / "installed", {"my_formats": source}, entry_points)


def test_the_readmes_format_of_another_package_exports_and_is_read_back(
    package: Path, tmp_path: Path
) -> None:
    store = LocalStore(tmp_path / "dataset")
    commit_pairs(store)
    where = ["--dataset", store.uri, "--output", str(tmp_path / "out")]
    done = run_with_package(package, "export", "my-format", *where, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["format"], answer["edits_checked"]) == ("my-format", 12)
    expected = sorted(text for _, text in train_instructions())
    assert sorted(str(row["text"]) for row in read_lines(tmp_path / "out/edits.jsonl")) == expected


def test_help_names_the_format_of_another_package(package: Path) -> None:
    done = run_with_package(package, "export", "--help")
    assert "my-format" in done.stdout and "another installed package" in done.stdout


def test_a_format_that_calls_itself_otherwise_is_refused(tmp_path: Path) -> None:
    source = "class Odd:\n    name = 'odd'\nODD = Odd()\n"
    points = {"coupled_images.export_formats": {"even": "odd_formats:ODD"}}
    package = install_package(tmp_path / "installed", {"odd_formats": source}, points)
    done = run_with_package(package, "export", "even", "--output", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "registered as 'even' calls itself 'odd'" in done.stderr
