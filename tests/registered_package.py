"""Packages that stand for those of other people: installed for one command, by folder alone."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent


def install_package(
    folder: Path, modules: Mapping[str, str], entry_points: Mapping[str, Mapping[str, str]]
) -> Path:
    """Lay out a package as pip would: modules, and metadata with its entry points.

    Args:
        folder: Becomes a place to import from.
        modules: Source text by name of the module.
        entry_points: By group, what stands in `pyproject.toml`: name to "module:object".
    """
    metadata = folder / "other_people-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other-people\nVersion: 1.0\n")
    groups = (
        "\n".join([f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())])
        for group, entries in entry_points.items()
    )
    (metadata / "entry_points.txt").write_text("\n\n".join(groups) + "\n")
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source)
    return folder


def run_with_package(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `coupled` in a process that finds the package; its working directory is elsewhere."""
    return subprocess.run(
        [sys.executable, "-m", "flows.cli.main", *arguments],
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"},
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
