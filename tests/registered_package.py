"""Packages as users write them by the library's README: a module, and an entry point to it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RECIPES = ROOT / "coupled_core" / "README.md"
_RECIPE = re.compile(
    r"```python\n"
    r" *# (?P<module>\w+)\.py: (?P<entry>\S+ = \"[\w.]+:\w+\")"
    r" under \[project\.entry-points\.\"(?P<group>[\w.]+)\"\]\n"
    r"(?P<code>.*?)\n *```",
    re.DOTALL,
)


def follow_recipe(kind: str, folder: Path) -> None:
    """Install, into a folder, the package that the README's recipe for a kind describes."""
    (found,) = (
        match
        for match in _RECIPE.finditer(RECIPES.read_text(encoding="utf-8"))
        if match["group"] == f"coupled_images.{kind}"
    )
    indent = len(found["code"]) - len(found["code"].lstrip())
    code = "\n".join(line[indent:] for line in found["code"].splitlines())
    install_package(folder, kind, found["module"], code, found["entry"].replace('"', ""))


def install_package(folder: Path, kind: str, module: str, code: str, entry: str) -> None:
    """Put a module and what pip writes beside it into a folder; `entry` is NAME = MODULE:OBJECT."""
    (folder / f"{module}.py").write_text(code + "\n")
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[coupled_images.{kind}]\n{entry}\n")


def run_with_package(folder: Path, program: str, **variables: str) -> Any:
    """Run a program where the package is installed; return the JSON that it prints last."""
    path = os.pathsep.join([str(ROOT), str(folder)])
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **variables, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
