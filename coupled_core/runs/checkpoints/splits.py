"""`split.json`: groups of a shard and their splits, all that later stages need of the input."""

import json
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any

from coupled_core.records import (
    EditInstruction,
    GroupSplit,
    PromptGroup,
    QuarantinedRow,
    Rejection,
    RejectReason,
)
from coupled_core.runs.checkpoints.folder import ShardFolder

_NAME = "split.json"
Outcome = GroupSplit | Rejection


@dataclass(frozen=True)
class SplitShard:
    """The input of a shard after the split stage."""

    groups: tuple[PromptGroup, ...]
    outcomes: tuple[Outcome, ...]
    """One for each group, in order."""
    quarantined: tuple[QuarantinedRow, ...]


def write_split(folder: ShardFolder, shard: SplitShard) -> None:
    """Store the input of a shard."""
    value = {
        "groups": [plain_group(group) for group in shard.groups],
        "outcomes": [_plain_outcome(outcome) for outcome in shard.outcomes],
        "quarantined": [asdict(row) for row in shard.quarantined],
    }
    folder.write_json(_NAME, value)


def read_split(folder: ShardFolder) -> SplitShard | None:
    """Return the input of a shard; None: not split yet."""
    value = folder.read_json(_NAME)
    if value is None:
        return None
    return SplitShard(
        groups=tuple(_group(plain) for plain in value["groups"]),
        outcomes=tuple(_outcome(plain) for plain in value["outcomes"]),
        quarantined=tuple(QuarantinedRow(**plain) for plain in value["quarantined"]),
    )


def holds_groups(shard: SplitShard, groups: Sequence[PromptGroup]) -> bool:
    """Say whether these groups were split; unknown columns compare as JSON."""
    return [plain_group(group) for group in shard.groups] == [plain_group(g) for g in groups]


def plain_group(group: PromptGroup) -> dict[str, Any]:
    """Return a group as JSON values; what JSON does not know (dates, decimals) becomes text."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(group), default=str))
    return plain


def _group(plain: dict[str, Any]) -> PromptGroup:
    entities = plain["entity_prompts"]
    return PromptGroup(
        **{
            **plain,
            "prompts": tuple(plain["prompts"]),
            "entity_prompts": None if entities is None else tuple(entities),
            "edit_instructions": tuple(map(tuple, plain.get("edit_instructions", ()))),
        }
    )


def _plain_outcome(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, Rejection):
        return {"rejected": asdict(outcome)}
    instructions = [
        [*pair, *astuple(instruction)] for pair, instruction in outcome.edit_instructions.items()
    ]
    return {"split": {**vars(outcome), "edit_instructions": instructions}}


def _outcome(plain: dict[str, Any]) -> Outcome:
    if "rejected" in plain:
        why = plain["rejected"]
        return Rejection(RejectReason(why["reason"]), why["message"], why.get("llm_cost_usd", 0.0))
    fields = plain["split"]
    return GroupSplit(
        **{
            **fields,
            "entity_prompts": tuple(fields["entity_prompts"]),
            "edit_instructions": {
                (i, j): EditInstruction(*rest) for i, j, *rest in fields["edit_instructions"]
            },
        }
    )
