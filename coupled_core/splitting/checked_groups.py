"""Prompt groups with a split that a person wrote down, and the verdict on a splitter's answer.

The groups lie in `checked/groups.jsonl`, one JSON object a line: `kind`, `prompts`, `background`
(words that the background prompt must name, lower case), `entities` (the same for each entity
prompt) and `not_background` (words that must not get there). A group without `background` has no
right split: its prompts share no scene, or some prompt names nothing besides it.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from coupled_core.records import GroupSplit, PromptGroup, Rejection

_FILE = Path(__file__).parent / "checked" / "groups.jsonl"
_CJK = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")


@dataclass(frozen=True)
class CheckedGroup:
    """A group and what is known about its split."""

    group: PromptGroup
    kind: str
    """What the group is an example of: "pose", "German", ..."""
    background: tuple[str, ...] | None
    """Words that only the background prompt must name; None: every split is wrong."""
    entities: tuple[tuple[str, ...], ...]
    """Words that only the entity prompt of that index must name."""
    not_background: tuple[str, ...]


class Verdict(StrEnum):
    """What a splitter's answer is worth."""

    RIGHT = "right"
    FAILED = "failed"
    """Rejected though there is a split: the group is lost, and says so."""
    WRONG = "wrong"
    """The worst: would become pairs that nobody notices."""


def read_checked_groups() -> list[CheckedGroup]:
    """Return the groups that the package ships, in the order of the file."""
    lines = [line for line in _FILE.read_text(encoding="utf-8").splitlines() if line]
    return list(_parse(lines))


def judge(checked: CheckedGroup, outcome: GroupSplit | Rejection) -> tuple[Verdict, str]:
    """Return the verdict on an answer, and what is wrong with it; empty where nothing is."""
    if checked.background is None:
        if isinstance(outcome, Rejection):
            return Verdict.RIGHT, ""
        return Verdict.WRONG, f"split into {outcome.background_prompt!r}, expected no split"
    if isinstance(outcome, Rejection):
        return Verdict.FAILED, outcome.message
    problems = list(_find_problems(checked, checked.background, outcome))
    return (Verdict.WRONG, problems[0]) if problems else (Verdict.RIGHT, "")


def _find_problems(
    checked: CheckedGroup, background: Sequence[str], split: GroupSplit
) -> Iterator[str]:
    found, entity_prompts = split.background_prompt, split.entity_prompts
    if len(entity_prompts) != len(checked.entities):
        yield f"{len(entity_prompts)} entities, expected {len(checked.entities)}"
        return
    foreign = {*checked.not_background, *(word for words in checked.entities for word in words)}
    yield from _compare(f"the background {found!r}", found, background, foreign)
    for words, prompt in zip(checked.entities, entity_prompts, strict=True):
        yield from _compare(f"the entity {prompt!r}", prompt, words, set(background))


def _compare(name: str, text: str, expected: Sequence[str], foreign: set[str]) -> Iterator[str]:
    for word in expected:
        if not _names(text, word):
            yield f"{name} lacks {word!r}"
    for word in sorted(foreign):
        if _names(text, word):
            yield f"{name} names {word!r}"


def _names(text: str, word: str) -> bool:
    if _CJK.search(word):
        return word in text
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text.casefold()) is not None


def _parse(lines: Sequence[str]) -> Iterator[CheckedGroup]:
    numbers: Counter[str] = Counter()
    for row_number, line in enumerate(lines):
        row = json.loads(line)
        numbers[row["kind"]] += 1
        name = f"{row['kind']} {numbers[row['kind']]}"
        yield CheckedGroup(
            PromptGroup(name, tuple(row["prompts"]), _FILE.name, row_number),
            row["kind"],
            tuple(row["background"]) if "background" in row else None,
            tuple(tuple(words) for words in row.get("entities", ())),
            tuple(row.get("not_background", ())),
        )
