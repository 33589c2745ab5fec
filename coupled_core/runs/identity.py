"""Names that follow from content: the same input and settings give the same ids, run after run."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from coupled_core.config import RunConfig, fingerprint, hash_canonical, quote
from coupled_core.filters import CROPPED

_WITHOUT_EFFECT_ON_ROWS = {
    "prompts": {"uri"},
    # The splitter that "auto" means, and its model, count through the splitter's identity.
    "split": {
        "splitter",
        "transport",
        "batch_size",
        "max_concurrency",
        "max_requests_per_minute",
        "cache_uri",
        "max_llm_usd",
        "no_cap",
        "prices",
    },
    "generation": {"device", "offload", "batch_size"},
    "scoring": {"unfit_judges"},
    "output": {"uri", "single_writer"},
}
"""Settings that may change when an interrupted run goes on. New settings count by default."""

_NOT_IN_PIXELS = {"device_name", "license", "use_restrictions"}


def run_id(config: RunConfig, inputs_sha256: Sequence[str]) -> str:
    """Return the name of a run's unfinished work, 16 hex digits.

    Args:
        inputs_sha256: Content hash or etag of each file of the prompt set, in order.
    """
    settings = config.model_dump(mode="json", exclude=_WITHOUT_EFFECT_ON_ROWS)
    if not config.prompts.trust_splits:  # runs from before there was this setting keep their ids
        del settings["prompts"]["trust_splits"]
    if settings["filter"][CROPPED.setting] == CROPPED.default:  # likewise
        del settings["filter"][CROPPED.setting]
    return fingerprint({"settings": settings, "inputs": list(inputs_sha256)})[:16]


def images_id(config: RunConfig, inputs_sha256: Sequence[str]) -> str:
    """Return what runs share that begin with the same images in the same batches, 16 digits.

    They may differ in who judges the images and in what is kept.

    Args:
        inputs_sha256: As `run_id` takes it.
    """
    judged = {"scoring", "filter", "selection", "content_filter", "duplicates"}
    settings = config.model_dump(mode="json", exclude=_WITHOUT_EFFECT_ON_ROWS)
    settings = {name: values for name, values in settings.items() if name not in judged}
    # Which images are stored in the end does not change how they are made.
    del settings["output"]["store_dropped"]
    return fingerprint({"images of": settings, "inputs": list(inputs_sha256)})[:16]


def generation_fingerprint(facts: Mapping[str, Any]) -> str:
    """Return the hash of everything about the generator that the images depend on.

    Args:
        facts: Its provenance as a mapping; device name and licence do not count.
    """
    decisive = {name: value for name, value in facts.items() if name not in _NOT_IN_PIXELS}
    if decisive.get("sampler_version") == 1:  # pairs from before there were versions keep their ids
        del decisive["sampler_version"]
    if not decisive.get("weights"):  # likewise
        decisive.pop("weights", None)
    return fingerprint(decisive)


def pair_id(
    *,
    group_id: str,
    prompts: tuple[str, str],
    image_indices: tuple[int, int],
    split_request_sha256: str,
    seed: int,
    generation_fingerprint: str,
) -> str:
    """Return the identity of a pair, 32 hex digits; known before anything is split or generated."""
    (i, j), (first, second) = image_indices, prompts
    return hash_canonical(
        f'{{"generation_fingerprint":{quote(generation_fingerprint)},"group_id":{quote(group_id)},'
        f'"image_indices":[{i},{j}],"prompts":[{quote(first)},{quote(second)}],"seed":{seed},'
        f'"split_request_sha256":{quote(split_request_sha256)}}}'
    )[:32]


def quarantined_id(*, source_file: str, source_row: int, message: str) -> str:
    """Return the pair_id of the row that stands for an unusable input row, 32 hex digits."""
    facts = {"source_file": source_file, "source_row": source_row, "message": message}
    return fingerprint({"quarantined": facts})[:32]


def sample_seed(run_seed: int, group_id: str, group_seed: int | None, seed_index: int) -> int:
    """Return the seed of a group's `seed_index`-th sample; a group's own seed goes first."""
    if group_seed is None:
        digest = hashlib.sha256(f"{run_seed}:{group_id}".encode()).digest()
        # Derived from the group's name, so it does not depend on the order of the groups, or on
        # others.
        group_seed = int.from_bytes(digest[:8], "big") % 2**31
    # Seeds in a row: more seeds of a group leave those before as they were.
    return group_seed + seed_index


def attempt_seed(seed: int, attempt: int) -> int:
    """Return the seed of another attempt in the place of a requested seed, which is attempt 1.

    It depends on nothing else: more attempts or seeds of a group leave those before as they were.
    """
    if attempt == 1:
        return seed
    digest = hashlib.sha256(f"{seed}:attempt {attempt}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 2**53  # JSON readers hold such integers exactly
