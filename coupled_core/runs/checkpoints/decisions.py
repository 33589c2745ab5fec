"""`decisions.json`: which scored pairs of a shard are kept, and why the others are not."""

from collections.abc import Mapping

from coupled_core.records import Decision
from coupled_core.runs.checkpoints.folder import ShardFolder

_NAME = "decisions.json"
Decisions = dict[str, dict[tuple[int, int], Decision]]
"""By key of the sample, then by pair of image indices."""


def write_decisions(
    folder: ShardFolder, decisions: Mapping[str, Mapping[tuple[int, int], Decision]]
) -> None:
    """Store the decisions of a shard."""
    plain = {
        key: [[i, j, list(decision.reject_reasons)] for (i, j), decision in pairs.items()]
        for key, pairs in decisions.items()
    }
    folder.write_json(_NAME, plain)


def read_decisions(folder: ShardFolder) -> Decisions | None:
    """Return the decisions of a shard; None: not decided yet."""
    plain = folder.read_json(_NAME)
    if plain is None:
        return None
    return {
        key: {(i, j): _decision(reasons) for i, j, reasons in pairs} for key, pairs in plain.items()
    }


def _decision(reasons: list[str]) -> Decision:
    return Decision(kept=not reasons, reject_reasons=tuple(reasons))
