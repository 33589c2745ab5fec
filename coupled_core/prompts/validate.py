"""Turn a raw row into a group, or say everything that is wrong with it."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any
from unicodedata import category

from coupled_core.config import MAX_SIDE_PX
from coupled_core.prompts.columns import INSTRUCTIONS
from coupled_core.prompts.given_splits import (
    find_instruction_problems,
    find_split_problems,
    read_instructions,
)
from coupled_core.prompts.rows import RawGroup
from coupled_core.prompts.tables import shorten
from coupled_core.records import PromptGroup

VARIATION_KINDS = ("entity_swap", "pose", "position", "appearance")
MAX_GROUP_ID_CHARS = 256
SIZE_STEP_PX = 16  # the VAE shrinks by 8 and the transformer packs 2 x 2
MAX_PROMPTS = 100
MAX_NUM_SEEDS = 10_000
MAX_PAIRS_A_GROUP = 100_000
"""Ids of all pairs of a group are in memory at once."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Unicode's control characters but for tabs and line breaks."""
_PLAIN = re.compile(r" *[!-~][ -~]*").fullmatch
"""Matches printable ASCII that is not blank."""
_MAX_SEED = 2**63 - 1
_INVISIBLE = {"Cc", "Cf", "Co", "Cs", "Me", "Mn", "Zl", "Zp", "Zs"}
"""Kinds of characters that show nothing where they stand alone."""
_BLANK_LETTERS = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters and symbols to Unicode, and blank in every font."""


def validate_group(
    raw: RawGroup, max_prompt_chars: int, *, trust_splits: bool = False
) -> PromptGroup | list[str]:
    """Return the group, or its problems: column, value and what was expected, one each."""
    if raw.is_broken:
        return list(raw.problems)
    if not raw.problems and _is_plain(raw.values, max_prompt_chars):
        group_id, prompts = raw.values["group_id"], tuple(raw.values["prompts"])
        return PromptGroup(group_id, prompts, raw.source_file, raw.source_row, extra=raw.extra)
    problems = [*raw.problems, *_find_problems(raw, max_prompt_chars)]
    if not problems:
        found = _find_contradictions(raw.values, trust_splits)
        problems = [f"group {shorten(raw.values['group_id'])}: {problem}" for problem in found]
    if problems:
        return problems
    values = raw.values
    entities = values.get("entity_prompts")
    num_seeds = values.get("num_seeds")
    return PromptGroup(
        group_id=values["group_id"],
        prompts=tuple(values["prompts"]),
        source_file=raw.source_file,
        source_row=raw.source_row,
        seed=values.get("seed"),
        num_seeds=1 if num_seeds is None else num_seeds,
        width=values.get("width"),
        height=values.get("height"),
        variation_kind=values.get("variation_kind"),
        background_prompt=values.get("background_prompt"),
        entity_prompts=None if entities is None else tuple(entities),
        edit_instructions=read_instructions(values),
        extra=raw.extra,
    )


def _is_plain(values: dict[str, Any], max_chars: int) -> bool:
    """Say whether a row has only what it must have, in plain letters, as most rows do.

    Nothing below can then object; what it denies may still be in order. A third of planning would
    otherwise be questions about columns that are not there.
    """
    group_id, prompts = values["group_id"], values["prompts"]
    if len(values) > 2 or group_id is None or prompts is None or None in prompts:
        return False
    return (
        len(group_id) <= MAX_GROUP_ID_CHARS
        and 2 <= len(prompts) <= MAX_PROMPTS
        and max(map(len, prompts)) <= max_chars
        and all(map(_PLAIN, (group_id, *prompts)))
        and len({" ".join(prompt.split()) for prompt in prompts}) == len(prompts)
    )


def _find_problems(raw: RawGroup, max_chars: int) -> Iterator[str]:
    # A cell that could not be read is null now, and must not be called missing as well.
    unread = {problem.split(":")[0].removeprefix("column ") for problem in raw.problems}
    values = raw.values
    if "group_id" not in unread:
        yield from _text_problem("group_id", values["group_id"], MAX_GROUP_ID_CHARS)
    if not unread & {"prompts", "prompt"}:
        yield from _prompts_problems(values["prompts"], max_chars)
        if not unread & {"background_prompt", "entity_prompts", "entity_prompt"}:
            yield from _split_problems(values, max_chars)
    if not unread & set(INSTRUCTIONS):
        for i, j, text in read_instructions(values):
            yield from _text_problem(f"edit_instructions ({i} to {j})", text, max_chars)
    if "variation_kind" not in unread:
        yield from _kind_problem(values.get("variation_kind"))
    yield from _number_problems(values)


def _find_contradictions(values: dict[str, Any], trust_splits: bool) -> Iterator[str]:
    """Compare what a row says beyond its prompts with them, once each of its values is in order."""
    background, entities = values.get("background_prompt"), values.get("entity_prompts")
    if background is not None and entities is not None and not trust_splits:
        yield from find_split_problems(values["prompts"], background, entities)
    yield from find_instruction_problems(values, trust_splits=trust_splits)


def _text_problem(column: str, value: Any, max_chars: int) -> Iterator[str]:
    if value is None:
        yield f"column {column}: got null, expected text"
        return
    if value.isascii() and value.isprintable() and value.strip() and len(value) <= max_chars:
        return  # as most texts are: nothing below can object
    control = _CONTROL.search(value)
    if not _has_visible(value):
        yield f"column {column}: got {shorten(value)}, expected text that is not blank"
    elif len(value) > max_chars:
        yield (
            f"column {column}: got {len(value)} characters ({shorten(value)}), "
            f"expected at most {max_chars}"
        )
    elif control is not None:
        yield (
            f"column {column}: got {shorten(value)} with the control character "
            f"U+{ord(control[0]):04X}, expected printable text"
        )


def _has_visible(text: str) -> bool:
    return any(not _is_invisible(character) for character in text)


def _is_invisible(character: str) -> bool:
    return category(character) in _INVISIBLE or character in _BLANK_LETTERS


def _read_by_eye(text: str) -> str:
    """Return a text without what makes no difference to a reader: blanks and hidden characters."""
    if not text.isascii():  # no hidden character is ASCII, and most prompts are
        text = "".join(c for c in text if category(c) != "Cf")
    return " ".join(text.split())


def _prompts_problems(prompts: list[Any] | None, max_chars: int) -> Iterator[str]:
    if prompts is None or len(prompts) < 2:
        yield f"column prompts: got {shorten(prompts)}, expected at least 2 prompts"
        return
    if len(prompts) > MAX_PROMPTS:
        yield f"column prompts: got {len(prompts)} prompts, expected at most {MAX_PROMPTS}"
        return
    first_at: dict[str, int] = {}
    for index, prompt in enumerate(prompts):
        yield from _text_problem(f"prompts[{index}]", prompt, max_chars)
        same = _read_by_eye(prompt) if prompt else ""
        if same and first_at.setdefault(same, index) != index:
            yield (
                f"column prompts[{index}]: got {shorten(prompt)}, the same as prompts"
                f"[{first_at[same]}]; expected prompts that differ"
            )


def _split_problems(values: dict[str, Any], max_chars: int) -> Iterator[str]:
    background, entities = values.get("background_prompt"), values.get("entity_prompts")
    if background is None and entities is None:
        return
    if background is None or entities is None:
        missing = "background_prompt" if background is None else "entity_prompts"
        yield f"column {missing}: got null, expected background_prompt and entity_prompts together"
        return
    yield from _text_problem("background_prompt", background, max_chars)
    for index, entity in enumerate(entities):
        yield from _text_problem(f"entity_prompts[{index}]", entity, max_chars)
    wanted = len(values["prompts"] or ())
    if len(entities) != wanted:
        yield f"column entity_prompts: got {len(entities)} texts, expected {wanted}, one a prompt"


def _kind_problem(kind: str | None) -> Iterator[str]:
    if kind is not None and kind not in VARIATION_KINDS:
        yield (
            f"column variation_kind: got {shorten(kind)}, "
            f"expected null or one of {', '.join(VARIATION_KINDS)}"
        )


def _number_problems(values: dict[str, Any]) -> Iterator[str]:
    seed, num_seeds, prompts = values.get("seed"), values.get("num_seeds"), values["prompts"] or ()
    if seed is not None and not 0 <= seed <= _MAX_SEED:
        yield f"column seed: got {seed}, expected 0 to {_MAX_SEED}"
    # The seeds of a group are consecutive; the column of the manifest has 64 bits.
    elif seed is not None and seed + (num_seeds or 1) - 1 > _MAX_SEED:
        yield f"column seed: got {seed} for {num_seeds} seeds, expected the last within {_MAX_SEED}"
    if num_seeds is not None and num_seeds < 1:
        yield f"column num_seeds: got {num_seeds}, expected 1 or more"
    elif num_seeds is not None and num_seeds > MAX_NUM_SEEDS:
        yield f"column num_seeds: got {num_seeds}, expected at most {MAX_NUM_SEEDS}"
    elif (num_pairs := count_pairs(prompts, num_seeds or 1)) > MAX_PAIRS_A_GROUP:
        yield (
            f"column num_seeds: got {num_seeds or 1}, which makes {num_pairs} pairs of the group's "
            f"prompts, expected at most {MAX_PAIRS_A_GROUP} pairs"
        )
    for column in ("width", "height"):
        size = values.get(column)
        if size is not None and (size <= 0 or size % SIZE_STEP_PX):
            yield f"column {column}: got {size}, expected a positive multiple of {SIZE_STEP_PX}"
        elif size is not None and size > MAX_SIDE_PX:
            yield f"column {column}: got {size}, expected at most {MAX_SIDE_PX}"


def count_pairs(prompts: Sequence[object], num_seeds: int) -> int:
    """Return how many pairs a group asks for."""
    return num_seeds * math.comb(len(prompts), 2)
