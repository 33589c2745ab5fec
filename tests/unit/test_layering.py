"""Imports go one way: flows -> tasks -> coupled_core; stages do not import each other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
STAGES = ("prompts", "splitting", "generation", "scoring", "filtering")
BUILDING_BLOCKS = {"coupling", "schedules"}
"""Packages that only the generate stage is made of."""


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield node.module or ""


def _violations(package: str, forbidden: tuple[str, ...]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for name in _imports(path)
        if any(name == prefix or name.startswith(f"{prefix}.") for prefix in forbidden)
    ]


def test_the_core_knows_neither_tasks_nor_flows_nor_prefect_nor_the_command_line() -> None:
    assert _violations("coupled_core", ("tasks", "flows", "prefect", "typer", "rich")) == []


def test_tasks_know_no_flows_and_no_command_line() -> None:
    assert _violations("tasks", ("flows", "typer", "rich")) == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_no_other_stage(stage: str) -> None:
    others = tuple(f"coupled_core.{other}" for other in STAGES if other != stage)
    assert _violations(f"coupled_core/{stage}", others) == []


@pytest.mark.parametrize("block", sorted(BUILDING_BLOCKS | {"wording"}))
def test_what_stages_are_made_of_imports_no_stage(block: str) -> None:
    stages = tuple(f"coupled_core.{stage}" for stage in STAGES)
    assert _violations(f"coupled_core/{block}", stages) == []
