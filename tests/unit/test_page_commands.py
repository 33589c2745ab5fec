"""The commands that our pages show: run by a test, or at least such as our programs take.

A block without a language holds commands; layouts, formulas and output are marked as text.
"""

import importlib.util
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from flows.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [
    *ROOT.glob("*.md"),
    *(page for top in ("coupled_core", "flows", "infra") for page in (ROOT / top).rglob("*.md")),
]
RUN = {
    'pip install -c infra/constraints.txt ".[test]" && pytest': (".ci/run", "README.md"),
    "coupled init prompts.csv": ("tests/unit/flows/cli/test_init.py", "prompts.csv"),
    "python -m infra.set_up": ("tests/contract/test_set_up.py", "infra.set_up"),
}
"""Lines that a test runs: which file does, and words that stand in it."""
NOT_RUN = {
    **dict.fromkeys(("git", "curl", "python3.11"), "they fetch, or set up what a test stands on"),
    **dict.fromkeys(
        (".", "cd", "export", "cp", "zcat", "${EDITOR:-vi}"), "the shell's, or no program"
    ),
    **dict.fromkeys(("docker", "terraform", "kubectl", "helm"), "no daemon, cloud or cluster here"),
}
"""Programs of others that no test starts, and why. Their files are checked by contract tests."""


@dataclass(frozen=True)
class Line:
    """A line of a page's block of commands."""

    page: Path
    text: str

    @property
    def commands(self) -> list[list[str]]:
        """The simple commands in it, without leading variables."""
        lexer = shlex.shlex(self.text, posix=True, punctuation_chars="|&;")
        lexer.whitespace_split = True
        commands: list[list[str]] = [[]]
        for word in lexer:
            if word and set(word) <= set("|&;"):
                commands.append([])
            elif commands[-1] or not re.match(r"[A-Z_]+=", word):
                commands[-1].append(word)
        return [command for command in commands if command]


def _lines() -> Iterator[Line]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            if language in ("", "sh", "bash"):
                for line in block.replace("\\\n", " ").splitlines():
                    if line.strip() and not line.startswith("#"):
                        yield Line(page, line.strip())


LINES = list(_lines())


@cache
def _cli() -> Mapping[str, Any]:
    return typer.main.get_group(app).commands


def _check_coupled(words: list[str]) -> None:
    name, *rest = words
    command = _cli()[name]
    # Reads every option and argument, and calls nothing.
    command.make_context(name, rest, parent=typer.Context(typer.main.get_group(app)))


def _check_module(words: list[str]) -> None:
    assert words[0] == "-m"
    spec = importlib.util.find_spec(words[1])
    assert spec is not None and spec.origin is not None, words[1]
    if spec.submodule_search_locations:
        spec = importlib.util.find_spec(f"{words[1]}.__main__")
        assert spec is not None and spec.origin is not None, words[1]
    source = Path(str(spec.origin)).read_text()
    for option in (word for word in words[2:] if word.startswith("--")):
        assert f'"{option}"' in source, option


def _check_pip(words: list[str]) -> None:
    assert words[:3] == ["install", "-c", "infra/constraints.txt"]
    assert (ROOT / words[2]).is_file()
    extras = re.findall(r"\[(.*)\]", words[-1])
    assert all(f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text() for extra in extras)


def _check_prefect(words: list[str]) -> None:
    """Look a deployment up in the file that deploys it; Prefect's own commands are Prefect's."""
    if words[:2] != ["deployment", "run"]:
        return
    declared = yaml.safe_load((ROOT / "infra" / "prefect.yaml").read_text())["deployments"]
    flows = {(e["entrypoint"].split(":")[1].replace("_", "-"), e["name"]): e for e in declared}
    entry = flows[tuple(words[2].split("/"))]  # type: ignore[index]
    source = (ROOT / entry["entrypoint"].split(":")[0]).read_text()
    given = [words[i + 1] for i, word in enumerate(words) if word in ("--param", "-p")]
    for parameter in given:
        assert re.search(rf"^    {parameter.split('=')[0]}: ", source, re.MULTILINE), parameter


CHECKS = {
    "coupled": _check_coupled,
    "python": _check_module,
    "pip": _check_pip,
    "prefect": _check_prefect,
    "pytest": lambda words: None,
}


@pytest.mark.parametrize(
    "page",
    sorted({line.page for line in LINES}),
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_every_command_of_a_page_is_one_that_our_programs_take(page: Path) -> None:
    for line in (line for line in LINES if line.page == page):
        for program, *words in line.commands:
            if program not in NOT_RUN:
                assert program in CHECKS, f"{line.text}: say in NOT_RUN why no test runs {program}"
                CHECKS[program](words)


def test_the_lines_that_tests_run_are_on_a_page() -> None:
    shown = {line.text for line in LINES}
    for text, (path, words) in RUN.items():
        assert text in shown
        assert words in (ROOT / path).read_text()


def test_every_reason_not_to_run_a_program_is_needed() -> None:
    programs = {command[0] for line in LINES for command in line.commands}
    assert set(NOT_RUN) <= programs
    assert len(LINES) > 40


def test_every_link_between_pages_leads_somewhere() -> None:
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if "://" in target:
                continue
            path, _, heading = target.partition("#")
            other = (page.parent / path) if path else page
            assert other.exists(), f"{page}: {target}"
            if heading:
                assert heading in _headings(other), f"{page}: {target}"


def _headings(page: Path) -> set[str]:
    """Return the names by which GitHub links to a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}
