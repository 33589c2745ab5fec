"""Everything that decides a result beside the method, its knobs and the samples.

Finished work is found again by the hash of all of it, so a change of weights, settings or code
never mixes with results from before. Comments, docstrings and layout of the code do not count.
"""

import hashlib
import inspect
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from coupled_core.config import RunConfig, fingerprint
from coupled_core.filters import list_filters
from coupled_core.generation.provenance import resolve_generation
from coupled_core.plugins import find_plugins
from coupled_core.records import Sample
from coupled_core.research.comparison.settings import OURS
from coupled_core.research.evaluation.conditions import (
    DECIDING_CODE,
    describe_scorers,
    digest_code,
    read_meaning,
)
from coupled_core.research.methods.method import Knobs

_VARIANTS = "research/comparison/variants.py"
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
        scoring=describe_scorers(config.scoring),
        guards=config.filter.model_dump(
            mode="json", include={each.setting for each in list_filters() if each.is_guard}
        ),
        code=digest_code(Path(__file__).parents[2], (*DECIDING_CODE, _VARIANTS)),
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


def _digest_registered(method: str) -> str | None:
    """Return what changes when the module of another package's method does; None: it is ours."""
    builder = find_plugins("methods").get(method)
    path = builder and inspect.getsourcefile(builder)
    return hashlib.sha256(read_meaning(Path(path))).hexdigest() if path else None
