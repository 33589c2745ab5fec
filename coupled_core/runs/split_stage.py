"""The split stage of a shard."""

from collections.abc import Sequence
from typing import Protocol

from coupled_core.records import PromptGroup, QuarantinedRow, SplitOutcome
from coupled_core.runs.checkpoints.folder import ShardFolder
from coupled_core.runs.checkpoints.splits import SplitShard, holds_groups, read_split, write_split
from coupled_core.splitting.refusal import Refuse, accept_all


class SplitsGroups(Protocol):
    """What is asked of a splitter; `splitting.splitter` has the full protocol."""

    def split(self, groups: Sequence[PromptGroup]) -> list[SplitOutcome]:
        """Return one outcome a group, in order."""


def split_shard(
    groups: Sequence[PromptGroup],
    quarantined: Sequence[QuarantinedRow],
    splitter: SplitsGroups,
    folder: ShardFolder,
    refuse: Refuse = accept_all,
) -> SplitShard:
    """Split the groups of a shard and store the outcome, or return what is stored already.

    Args:
        groups: In the order of the prompt set.
        quarantined: Unusable rows among them; stored along: later stages need no prompt set.
        splitter: Asked once for all groups that are not refused.
        folder: Work of this shard.
        refuse: Returns why a group shall not be asked about, nor made; None: it may.
    """
    stored = read_split(folder)
    if stored is not None and holds_groups(stored, groups):
        return stored
    refusals = [refuse(group) for group in groups]
    allowed = [group for group, why in zip(groups, refusals, strict=True) if why is None]
    answers = iter(splitter.split(allowed))
    outcomes = tuple(why or next(answers) for why in refusals)
    shard = SplitShard(tuple(groups), outcomes, tuple(quarantined))
    write_split(folder, shard)
    return shard
