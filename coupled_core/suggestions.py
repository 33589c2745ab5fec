"""Hints at the name that a misspelt one was perhaps meant to be."""

from collections.abc import Iterable
from difflib import get_close_matches


def suggest(name: str, known: Iterable[str], most: int = 1) -> str:
    """Return a hint to put behind an error message, or nothing.

    `num_steps` means `num_inference_steps`, which has all of its words, before it means what is
    spelled alike.

    Args:
        known: What would have been understood. A dotted name (`generation.seed`) is compared by
            what stands behind its last dot, and told whole.
        most: How many names to tell at most.
    """
    by_name: dict[str, str] = {}
    for each in known:
        by_name.setdefault(each.rpartition(".")[2], each)
    words = _split_words(name)
    near = [name] if name in by_name else [each for each in by_name if words <= _split_words(each)]
    near = near or get_close_matches(name, by_name, n=most)
    meant = " or ".join(by_name[each] for each in near[:most])
    return f"; did you mean {meant}?" if meant else ""


def _split_words(name: str) -> set[str]:
    return {*name.replace("-", "_").split("_")}
