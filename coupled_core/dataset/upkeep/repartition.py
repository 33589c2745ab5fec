"""The present rule of splitting over a dataset that an earlier version made."""

from collections.abc import Sequence
from dataclasses import dataclass

from coupled_core.dataset.backgrounds import SPLIT_RULE, split_of_background
from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import RunInfo, Snapshot
from coupled_core.dataset.upkeep.rewrite import Rewrite, rewrite_rows
from coupled_core.storage.store import ObjectStore


@dataclass(frozen=True)
class ResplitReport:
    """What splitting anew did."""

    snapshot: Snapshot | None
    """None: every row was where the rule wants it."""
    num_moved: int
    """Rows that went to another split."""


def resplit(store: ObjectStore, *, single_writer: bool = False) -> ResplitReport:
    """Assign every row to train, val or test by the present rule, as a new snapshot.

    Raises:
        DatasetError: as `rewrite_rows`.
    """
    moved: set[str] = set()

    def change(rows: Sequence[Row], _run: RunInfo) -> list[Row]:
        return [_move(row, moved) for row in rows]

    def change_run(run: RunInfo) -> RunInfo:
        return run.model_copy(update={"split_rule": SPLIT_RULE})

    rewrite = Rewrite("resplit", {"split_rule": SPLIT_RULE}, change, change_run)
    snapshot = rewrite_rows(store, rewrite, single_writer=single_writer)
    return ResplitReport(snapshot, len(moved))


def _move(row: Row, moved: set[str]) -> Row:
    background = row["background_prompt"]
    if background is None:
        return row
    split = split_of_background(background)
    if split != row["split"]:
        moved.add(row["pair_id"])
    return {**row, "split": split}
