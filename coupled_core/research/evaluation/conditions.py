"""What decides results beside settings and samples: what the code does, and the scorers' files.

Finished work is kept under a name that holds both, so it never outlives a change of either.
Comments, docstrings and layout of the code do not count.
"""

import ast
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from coupled_core.config import ScoringConfig
from coupled_core.miniature import miniature_folder
from coupled_core.scoring.metrics import METRIC_VERSION

DECIDING_CODE = (
    "coupling",
    "filtering",
    "filters.py",
    "generation",
    "research/evaluation/pairs.py",
    "research/evaluation/rings.py",
    "research/methods",
    "research/training/entity_judge.py",
    "schedules",
    "scoring",
)
"""Folders and files of the package that every evaluation of pairs rests on."""


def digest_code(root: Path, names: Iterable[str] = DECIDING_CODE) -> str:
    """Return the SHA-256 of what the named code does.

    Args:
        root: The package's folder.
        names: Files and folders below it, in any order.
    """
    digest = hashlib.sha256()
    for name in sorted(names):
        place = root / name
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            # Schedules count by the id of the one in use, not by what else lies beside it.
            data = () if name == "schedules" else (".json",)
            if path.suffix in (".py", *data):
                digest.update(str(path.relative_to(root)).encode())
                digest.update(read_meaning(path))
    return digest.hexdigest()


def read_meaning(path: Path) -> bytes:
    """Return what a file means: a module's syntax tree without docstrings, else its bytes."""
    if path.suffix != ".py":
        return path.read_bytes()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_bare_text(one)]  # type: ignore[attr-defined]
    return ast.dump(tree).encode()


def _is_bare_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def describe_scorers(config: ScoringConfig) -> dict[str, Any]:
    """Return what scores depend on beside images: metric, models with their files, dtype."""
    return {
        "metric_version": METRIC_VERSION,
        "sam_model": [config.sam_model, _stamp("sam", config.sam_model)],
        "clip_model": [config.clip_model, _stamp("clip", config.clip_model)],
        **config.model_dump(include={"dtype"}),
    }


def _stamp(part: Any, spec: str) -> Any:
    """Return what changes when a scorer's files do; None for a name that a hub resolves.

    The shipped files are hashed. Of others, gigabytes perhaps, size and time of change are taken.
    """
    if spec == "miniature":
        files = sorted(path for path in miniature_folder(part).rglob("*") if path.is_file())
        return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    path = Path(spec.partition(":")[2] or spec)
    if not path.exists():
        return None
    stats = [path.stat() for path in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return [[stat.st_size, stat.st_mtime_ns] for stat in stats]
