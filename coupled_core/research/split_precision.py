"""How many of the splits that the offline rules accept are right: what a person says who read them.

`checked/wild.jsonl` holds groups worded as people word them, in three parts: `tuning`, which the
rules were adjusted to; `held back`, written at the same time and first split when the rules stood;
`fresh`, written after that. Each accepted split stands there as it was read, with what is wrong in
it. A split that comes out otherwise than it was read counts as wrong until somebody reads it.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from coupled_core.records import GroupSplit, PromptGroup, Rejection
from coupled_core.research.evaluation.intervals import wilson_interval
from coupled_core.splitting.splitter import Splitter

_FILE = Path(__file__).parent / "checked" / "wild.jsonl"
Instruction = tuple[int, int, str | None]


@dataclass(frozen=True)
class ReadSplit:
    """A split that somebody has read."""

    background: str
    entities: tuple[str, ...]
    instructions: tuple[Instruction, ...]
    """From, to, text; None where the rules wrote none."""
    wrong: str
    """What is wrong with background, entities or instructions; empty: all are right."""


@dataclass(frozen=True)
class WildGroup:
    """A group worded as people word them."""

    group: PromptGroup
    kind: str
    part: str
    """tuning, held back or fresh."""
    read: ReadSplit | None
    """None: the rules refused it when it was read."""


class SplitVerdict(StrEnum):
    """What became of a group."""

    REFUSED = "refused"
    RIGHT = "right"
    WRONG = "wrong"
    UNREAD = "unread"
    """Accepted, but not as it was read."""


def read_wild_groups() -> list[WildGroup]:
    """Return the groups that the package ships, in the order of the file."""
    lines = _FILE.read_text(encoding="utf-8").splitlines()
    return [_parse(number, json.loads(line)) for number, line in enumerate(lines)]


def judge_split(wild: WildGroup, outcome: GroupSplit | Rejection) -> SplitVerdict:
    """Compare a split with what was read."""
    if isinstance(outcome, Rejection):
        return SplitVerdict.REFUSED
    read = wild.read
    found = (outcome.background_prompt, outcome.entity_prompts, _instructions_of(outcome))
    if read is None or found != (read.background, read.entities, read.instructions):
        return SplitVerdict.UNREAD
    return SplitVerdict.WRONG if read.wrong else SplitVerdict.RIGHT


def measure_precision(splitter: Splitter, groups: Sequence[WildGroup]) -> list[SplitVerdict]:
    """Split the groups and return what became of each, in order."""
    outcomes = splitter.split([wild.group for wild in groups])
    return [judge_split(wild, outcome) for wild, outcome in zip(groups, outcomes, strict=True)]


def write_precision(groups: Sequence[WildGroup], outcomes: Sequence[SplitVerdict]) -> str:
    """Return a table: groups, those accepted, and the right ones of them with 95% intervals."""
    lines = [f"{'part or kind':42} groups  accepted  right of the accepted"]
    for name, found in _by_part_and_kind(groups, outcomes):
        accepted = [outcome for outcome in found if outcome is not SplitVerdict.REFUSED]
        line = f"{name:42} {len(found):6}  {len(accepted) / len(found):8.0%}"
        if accepted:
            share = wilson_interval(accepted.count(SplitVerdict.RIGHT), len(accepted))
            line += f"  {share.mean:6.1%} of {len(accepted):3} [{share.low:.1%}, {share.high:.1%}]"
        lines.append(line)
    return "\n".join(lines)


def _by_part_and_kind(
    groups: Sequence[WildGroup], outcomes: Sequence[SplitVerdict]
) -> Iterator[tuple[str, list[SplitVerdict]]]:
    names = [f"{wild.part}: {wild.kind}" for wild in groups] + [wild.part for wild in groups]
    named = list(zip(names, [*outcomes, *outcomes], strict=True))
    for name in dict.fromkeys(names):
        yield name, [outcome for other, outcome in named if other == name]
    unseen = [o for wild, o in zip(groups, outcomes, strict=True) if wild.part != "tuning"]
    yield "held back and fresh", unseen


def _instructions_of(split: GroupSplit) -> tuple[Instruction, ...]:
    return tuple((i, j, written.text) for (i, j), written in split.edit_instructions.items())


def _parse(number: int, row: dict[str, Any]) -> WildGroup:
    prompts = tuple(row["prompts"])
    read = row.get("read")
    return WildGroup(
        PromptGroup(f"wild {number}", prompts, _FILE.name, number),
        row["kind"],
        row["part"],
        None if read is None else _parse_read(read),
    )


def _parse_read(read: dict[str, Any]) -> ReadSplit:
    return ReadSplit(
        read["background"],
        tuple(read["entities"]),
        tuple((i, j, text) for i, j, text in read["instructions"]),
        read["wrong"],
    )
