"""Everything that decides a result beside the method, its knobs and the samples.

Finished work is found again by the hash of all of it, so a change of weights, settings or code
never mixes with results from before. Comments, docstrings and layout of the code do not count.
"""

import ast
import hashlib
import inspect
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from coupled_core.config import RunConfig, ScoringConfig, fingerprint
from coupled_core.filters import list_filters
from coupled_core.generation.provenance import resolve_generation
from coupled_core.miniature import miniature_folder
from coupled_core.plugins import find_plugins
from coupled_core.records import Sample
from coupled_core.research.comparison.settings import OURS
from coupled_core.research.methods.method import Knobs
from coupled_core.scoring.metrics import METRIC_VERSION

DECIDING_CODE = (
    "coupling",
    "filtering",
    "filters.py",
    "generation",
    "research/comparison/variants.py",
    "research/evaluation/pairs.py",
    "research/evaluation/rings.py",
    "research/methods",
    "research/training/entity_judge.py",
    "schedules",
    "scoring",
)
"""Folders and files of the package."""
_NOT_IN_IMAGES = ("license", "use_restrictions")
_OF_OUR_SCHEDULE = ("schedule_id", "coupling_mode")


@dataclass(frozen=True)
class Conditions:
    """JSON values; equal conditions give equal results."""

    generation: dict[str, Any]
    """Base model, schedule, steps, size, type and device with every default filled in."""
    scoring: dict[str, Any]
    guards: dict[str, Any]
    code: str
    """SHA-256 of what the code does, and of the files it ships with."""


def find_conditions(config: RunConfig) -> Conditions:
    """Return the conditions of a run on this machine, without loading weights.

    Raises:
        ConfigError, ModelUnavailableError, ScheduleError: the settings do not work here.
    """
    generation = asdict(resolve_generation(config.generation))
    return Conditions(
        generation={k: v for k, v in generation.items() if k not in _NOT_IN_IMAGES},
        scoring=_describe_scorers(config.scoring),
        guards=config.filter.model_dump(
            mode="json", include={each.setting for each in list_filters() if each.is_guard}
        ),
        code=digest_code(Path(__file__).parents[2]),
    )


def describe_sample(sample: Sample) -> dict[str, Any]:
    """Return all of a sample that images and scores depend on."""
    group, split = sample.group, sample.split
    return {
        "group_id": group.group_id,
        "prompts": list(group.prompts),
        "size": [group.width, group.height],
        "seed": sample.seed,
        "background_prompt": split.background_prompt,
        "entity_prompts": list(split.entity_prompts),
    }


def name_work(
    conditions: Conditions, method: str, knobs: Knobs, samples: list[Sample], **more: Any
) -> str:
    """Return the name under which the outcome of a piece of work is kept, 32 hex digits.

    Args:
        conditions: of the run.
        method: its name.
        knobs: a value for each of its knobs.
        samples: in their order.
        more: what else decides it, JSON values.
    """
    decisive = asdict(conditions)
    if method != OURS:  # whose schedule is nothing to the others: a new one leaves their work alone
        for name in _OF_OUR_SCHEDULE:
            decisive["generation"].pop(name, None)
    facts = {
        "conditions": decisive,
        "method": method,
        "knobs": dict(knobs),
        "samples": [describe_sample(sample) for sample in samples],
        "registered_code": _digest_registered(method),
        **more,
    }
    return fingerprint(facts)[:32]


def digest_code(root: Path) -> str:
    """Return the SHA-256 of what the deciding code under a folder does."""
    digest = hashlib.sha256()
    for name in DECIDING_CODE:
        place = root / name
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            # Schedules count by the id of the one in use, not by what else lies beside it.
            data = () if name == "schedules" else (".json",)
            if path.suffix in (".py", *data):
                digest.update(str(path.relative_to(root)).encode())
                digest.update(_read_meaning(path))
    return digest.hexdigest()


def _digest_registered(method: str) -> str | None:
    """Return what changes when the module of another package's method does; None: it is ours."""
    builder = find_plugins("methods").get(method)
    path = builder and inspect.getsourcefile(builder)
    return hashlib.sha256(_read_meaning(Path(path))).hexdigest() if path else None


def _read_meaning(path: Path) -> bytes:
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


def _describe_scorers(config: ScoringConfig) -> dict[str, Any]:
    return {
        "metric_version": METRIC_VERSION,
        "sam_model": [config.sam_model, _stamp("sam", config.sam_model)],
        "clip_model": [config.clip_model, _stamp("clip", config.clip_model)],
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
