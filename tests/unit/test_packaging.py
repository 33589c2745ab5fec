"""What `pyproject.toml` names by a pattern is there, and all that the code reads is shipped."""

import itertools
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SHIPPED: list[str] = PROJECT["tool"]["setuptools"]["package-data"]["coupled_core"]


def _expand(pattern: str) -> Iterator[str]:
    """Yield what the braces of a pattern stand for; pathlib does not know them."""
    parts = re.split(r"\{(.*?)\}", pattern)
    choices = [part.split(",") if index % 2 else [part] for index, part in enumerate(parts)]
    return map("".join, itertools.product(*choices))


@pytest.mark.parametrize("pattern", PROJECT["tool"]["ruff"]["lint"]["per-file-ignores"])
def test_an_exception_from_the_rules_is_for_files_that_exist(pattern: str) -> None:
    globs = [each.replace("**", "**/*") for each in _expand(pattern)]
    assert any(path.is_file() for each in globs for path in ROOT.glob(each))


@pytest.mark.parametrize("pattern", SHIPPED)
def test_a_pattern_of_package_data_finds_files(pattern: str) -> None:
    assert any(path.is_file() for path in (ROOT / "coupled_core").glob(pattern))


def test_every_data_file_of_the_core_is_shipped_but_its_readmes() -> None:
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "coupled_core"],
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("these tests do not run in a checkout")
    core = ROOT / "coupled_core"
    data = {ROOT / name for name in listed.stdout.splitlines() if not name.endswith((".py", ".md"))}
    shipped = {path for pattern in SHIPPED for path in core.glob(pattern) if path.is_file()}
    assert data - shipped == set()


def test_modules_with_lighter_types_exist() -> None:
    overrides = PROJECT["tool"]["mypy"]["overrides"]
    modules = itertools.chain.from_iterable(each["module"] for each in overrides)
    own = [name.removesuffix(".*") for name in modules if name.startswith("coupled_core")]
    assert own and all((ROOT / name.replace(".", "/")).is_dir() for name in own)


def test_continuous_integration_finds_the_readmes_command() -> None:
    script, readme = (ROOT / ".ci/run").read_text(), (ROOT / "README.md").read_text()
    [pattern] = re.findall(r"s/\^\\\((.*?)\\\)\$/", script)
    [found] = re.findall(f"^{pattern}$", readme, re.MULTILINE)
    install, tests = found.split(" && ")
    assert install.startswith("pip install -c infra/constraints.txt") and tests == "pytest"
