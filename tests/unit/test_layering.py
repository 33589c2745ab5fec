"""Imports go one way, nothing is imported in a circle, and production knows no research.

A module's imports count wherever they stand: at the top, in a function, or for type checkers alone.
"""

import ast
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
BASE = frozenset(
    {
        *{
            "addresses",
            "concepts",
            "config",
            "documents",
            "errors",
            "filters",
            "id_set",
            "log_fields",
            "plugins",
        },
        *{"progress", "records", "redaction", "reservoir", "suggestions", "version"},
    }
)
"""What all of the core stands on; the other modules at its root are its face."""
_STORED = frozenset({"base", "storage"})
_STAGES: dict[str, frozenset[str]] = {
    "storage": frozenset({"base"}),
    "miniature": frozenset({"base"}),
    "models": frozenset({"base"}),
    "wording": frozenset(),
    "llm": _STORED,
    "prompts": _STORED | {"miniature", "wording"},
    "splitting": _STORED | {"wording", "llm"},
    "schedules": frozenset({"base"}),
    "coupling": frozenset({"base", "schedules"}),
    "generation": frozenset({"base", "models", "schedules", "coupling", "miniature"}),
    "scoring": frozenset({"base", "models", "miniature"}),
    "filtering": frozenset({"base"}),
    "dataset": _STORED,
    "export": _STORED | {"dataset"},
    "report": _STORED | {"dataset", "schedules"},
}
_PRODUCTION = frozenset({"base", *_STAGES, "runs"})
MAY_IMPORT: Mapping[str, frozenset[str]] = {
    "base": frozenset(),
    **_STAGES,
    "runs": frozenset({"base", *_STAGES}),
    "face": _PRODUCTION,
    "research": _PRODUCTION,
    "tasks": _PRODUCTION | {"research", "face"},
    "flows": _PRODUCTION | {"research", "face", "tasks"},
    "flows.cli": _PRODUCTION | {"research", "face", "tasks", "flows"},
}
"""What a part of the program may import beside itself; only runs and research join stages."""
_COMMAND_LINE = frozenset({"click", "cyclopts", "rich", "typer"})
MAY_NOT_USE: Mapping[str, frozenset[str]] = {
    "coupled_core": _COMMAND_LINE | {"prefect"},
    "tasks": _COMMAND_LINE,
}
"""Libraries that belong further up, by the package that must do without them."""
BUILD = "flows.build_dataset"
"""Whatever this imports, directly or not, is production."""

Imports = Mapping[str, frozenset[str]]
"""By module: the modules of ours that it imports, and the packages of others."""


def read_imports(root: Path) -> Imports:
    """Return what each module under `coupled_core`, `tasks` and `flows` imports."""
    paths = {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for package in ("coupled_core", "tasks", "flows")
        for path in sorted((root / package).rglob("*.py"))
    }
    return {
        module: frozenset(_find_imports(path, frozenset(paths))) for module, path in paths.items()
    }


def find_violations(imports: Imports) -> list[str]:
    """Return every import that breaks a rule, and every circle of folders, as sentences."""
    return [
        *_find_wrong_directions(imports),
        *_find_wrong_libraries(imports),
        *_find_circles(imports, _part_of),
        *_find_circles(imports, lambda module: _folder_of(module, imports)),
        *_find_module_circles(imports),
        *_find_research_in_builds(imports),
    ]


def _find_imports(path: Path, ours: frozenset[str]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            found = [name if name in ours else str(node.module) for name in whole]
        else:
            continue
        yield from (name if name in ours else name.partition(".")[0] for name in found)


def _part_of(module: str) -> str:
    """Return the part of the program that a module belongs to, a key of `MAY_IMPORT`."""
    package, _, rest = module.partition(".")
    if package != "coupled_core":
        return "flows.cli" if f"{module}.".startswith("flows.cli.") else package
    first, _, inner = rest.partition(".")
    if first in BASE:
        return "base"
    return first if inner or first in MAY_IMPORT else "face"


def _folder_of(module: str, imports: Imports) -> str:
    is_package = any(other.startswith(f"{module}.") for other in imports)
    return module if is_package else module.rpartition(".")[0]


def _find_wrong_directions(imports: Imports) -> Iterator[str]:
    for module, found in imports.items():
        part = _part_of(module)
        allowed = MAY_IMPORT.get(part, frozenset()) | {part}
        for name in sorted(found & imports.keys()):
            if _part_of(name) not in allowed:
                yield f"{module} imports {name}: {part} may not import {_part_of(name)}"


def _find_wrong_libraries(imports: Imports) -> Iterator[str]:
    for module, found in imports.items():
        for name in sorted(found & MAY_NOT_USE.get(module.partition(".")[0], frozenset())):
            yield f"{module} imports {name}, which belongs further up"


def _find_circles(imports: Imports, folder_of: Callable[[str], str]) -> Iterator[str]:
    """Yield the imports that close circles; a folder and those within it may know each other."""
    reasons: dict[tuple[str, str], str] = {}
    graph: dict[str, set[str]] = {}
    for module, found in imports.items():
        for name in sorted(found & imports.keys()):
            importer, imported = folder_of(module), folder_of(name)
            if not f"{importer}.".startswith(f"{imported}.") and (
                not f"{imported}.".startswith(f"{importer}.")
            ):
                reasons.setdefault((importer, imported), f"{module} imports {name}")
                graph.setdefault(importer, set()).add(imported)
    for (importer, imported), reason in reasons.items():
        if importer in _reach(graph, imported):
            yield f"folders in a circle, {importer} -> {imported}: {reason}"


def _find_module_circles(imports: Imports) -> Iterator[str]:
    """Yield each module that comes back to itself by its imports, also by those in functions."""
    graph = {module: set(found & imports.keys()) for module, found in imports.items()}
    for module in graph:
        if module in _reach(graph, module):
            yield f"{module} imports itself by way of others"


def _find_research_in_builds(imports: Imports) -> Iterator[str]:
    graph = {module: set(found & imports.keys()) for module, found in imports.items()}
    for name in sorted(_reach(graph, BUILD)):
        if _part_of(name) == "research":
            yield f"{BUILD} reaches {name}: a build may not need research"


def _reach(graph: Mapping[str, set[str]], start: str) -> set[str]:
    """Return what can be reached from a node by one edge or more."""
    seen: set[str] = set()
    waiting = list(graph.get(start, ()))
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += graph.get(node, ())
    return seen


def test_the_program_keeps_its_layers() -> None:
    imports = read_imports(ROOT)
    assert BUILD in imports
    assert len(imports) > 100
    assert find_violations(imports) == []


def test_every_folder_of_the_core_has_a_place_in_the_rule() -> None:
    folders = {path.parent.name for path in (ROOT / "coupled_core").glob("*/__init__.py")}
    assert folders <= MAY_IMPORT.keys() | BASE


SOUND = {
    "coupled_core/__init__.py": "",
    "coupled_core/errors.py": "",
    "coupled_core/scoring/clip.py": "from coupled_core.errors import CoupledError\nimport torch",
    "coupled_core/filtering/decide.py": "from coupled_core import errors",
    "coupled_core/runs/score.py": "from coupled_core.scoring import clip\n"
    "from coupled_core.filtering.decide import decide",
    "coupled_core/research/search.py": "from coupled_core.runs.score import score_shard",
    "tasks/shard.py": "import prefect\nfrom coupled_core.runs import score",
    "tasks/optimize.py": "from coupled_core.research import search",
    "flows/build_dataset.py": "from tasks.shard import score",
    "flows/cli/main.py": "import typer\nfrom flows import build_dataset",
}


def _violations_of(folder: Path, **planted: str) -> list[str]:
    """Write a sound tree with some files changed and return what the guard says of it."""
    changed = {f"{name.replace('__', '/')}.py": text for name, text in planted.items()}
    for name, text in (SOUND | changed).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text)
    return find_violations(read_imports(folder))


def test_a_sound_tree_passes(tmp_path: Path) -> None:
    assert _violations_of(tmp_path) == []


@pytest.mark.parametrize(
    ("where", "text", "complaint"),
    [
        ("coupled_core__scoring__sam", "from coupled_core.filtering import decide", "scoring may"),
        ("coupled_core__runs__plan", "import coupled_core.research.search", "runs may not import"),
        ("coupled_core__errors", "def f():\n    import coupled_core.runs.score", "base may not"),
        ("coupled_core__scoring__sam", "import coupled_core", "scoring may not import face"),
        ("coupled_core__runs__plan", "from prefect.tasks import task", "imports prefect, which"),
        ("tasks__shard", "from rich import print", "tasks.shard imports rich, which"),
        ("tasks__run", "from flows import build_dataset", "tasks may not import flows"),
        ("flows__build_shard", "from flows.cli import main", "flows may not import flows.cli"),
        ("tasks__shard", "from tasks import optimize", "reaches coupled_core.research.search"),
        ("coupled_core__errors", "import coupled_core.scoring.clip", "circle, base -> scoring"),
        ("coupled_core__new__room", "from coupled_core import errors", "new may not import base"),
    ],
)
def test_a_planted_violation_is_named(
    tmp_path: Path, where: str, text: str, complaint: str
) -> None:
    assert any(complaint in found for found in _violations_of(tmp_path, **{where: text}))


def test_folders_of_one_room_may_not_import_each_other(tmp_path: Path) -> None:
    both = {
        "coupled_core__dataset__commit__publish": "import coupled_core.dataset.upkeep.gc",
        "coupled_core__dataset__upkeep__gc": "from coupled_core.dataset.commit import publish",
    }
    found = [each for each in _violations_of(tmp_path, **both) if each.startswith("folders")]
    assert len(found) == 2
    assert "coupled_core.dataset.commit -> coupled_core.dataset.upkeep" in found[0]


def test_modules_of_one_folder_may_not_import_each_other(tmp_path: Path) -> None:
    both = {
        "coupled_core__storage__store": "def f():\n    import coupled_core.storage.local",
        "coupled_core__storage__local": "from coupled_core.storage.store import ObjectStore",
    }
    assert _violations_of(tmp_path, **both) == [
        f"coupled_core.storage.{name} imports itself by way of others"
        for name in ("local", "store")
    ]
