"""Other thresholds over a finished dataset: a new snapshot, and nothing is generated."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import RunInfo, Snapshot
from coupled_core.dataset.upkeep.rewrite import Rewrite, rewrite_rows
from coupled_core.errors import DatasetError
from coupled_core.filtering.best_pairs import Candidate, Edit, choose_best
from coupled_core.records import RejectReason, Status
from coupled_core.storage.store import ObjectStore

Judge = Callable[[Row, Mapping[str, float]], tuple[RejectReason, ...]]
"""From a scored row and thresholds by name to what these object; (): they let it pass."""

THRESHOLD_REASONS = frozenset(
    {
        RejectReason.BELOW_MIN_COMBINED,
        RejectReason.EMPTY_MASK,
        RejectReason.MASK_TOO_LARGE,
        RejectReason.NEAR_IDENTICAL,
    }
)
"""Reasons that a re-cut takes back or gives; others, such as unsafe or duplicate, stay.

Of several attempts the best is chosen anew, among those whose images are stored.
"""
_NOT_BEST = RejectReason.NOT_BEST.value


@dataclass(frozen=True)
class RecutReport:
    """What a re-cut did."""

    snapshot: Snapshot | None
    """None: no decision changed."""
    num_dropped: int
    """Pairs that were kept before."""
    num_kept: int
    """Pairs that were dropped before."""
    num_without_images: int
    """Pairs that the thresholds would keep, but whose images were never stored: still dropped."""


def recut(
    store: ObjectStore,
    thresholds: Mapping[str, float],
    judge: Judge,
    *,
    leave_out: bool = False,
    single_writer: bool = False,
) -> RecutReport:
    """Decide about every scored pair anew, and commit the decisions as a new snapshot.

    Thresholds that are not named stay those of each run. A person's verdict (`review_status`)
    outlasts any threshold. Images of pairs that are dropped now stay in their parts, so the same
    dataset can be re-cut back.

    Args:
        store: The dataset.
        thresholds: Settings of the filter by name.
        judge: Applies thresholds to the numbers of a row.
        leave_out: Leave pairs dropped whose images were never stored, instead of refusing.
        single_writer: Nothing else writes here.

    Raises:
        DatasetError: pairs would be kept whose images are not there; or as `rewrite_rows`.
    """
    cut = _Recut(dict(thresholds), judge, leave_out)
    action = Rewrite("recut", cut.thresholds, cut.change_part, cut.change_run)
    snapshot = rewrite_rows(store, action, single_writer=single_writer)
    counts = Counter(cut.outcomes.values())
    return RecutReport(
        snapshot, counts[_Outcome.DROPPED], counts[_Outcome.KEPT], counts[_Outcome.NO_IMAGES]
    )


class _Outcome(Enum):
    """What a re-cut changes about a pair, or would."""

    KEPT = "kept"
    DROPPED = "dropped"
    NO_IMAGES = "no images"


class _Recut:
    """Decides row by row and remembers what changed."""

    def __init__(self, thresholds: dict[str, float], judge: Judge, leave_out: bool) -> None:
        self.thresholds = thresholds
        self.outcomes: dict[str, _Outcome] = {}
        self._judge = judge
        self._leave_out = leave_out

    def change_part(self, rows: Sequence[Row], run: RunInfo) -> list[Row]:
        """Return the rows of a part with their new decisions."""
        thresholds = {**run.thresholds, **self.thresholds}
        judged = {
            row["pair_id"]: _object(row, self._judge(row, thresholds))
            for row in rows
            if row["status"] == Status.OK and row["review_status"] is None
        }
        passing = [row for row in rows if judged.get(row["pair_id"]) == []]
        quotas = _edit_quotas(rows, run)
        wanted = choose_best(map(_candidate, passing), quotas)
        stored = [row for row in passing if row["image_part"] is not None]
        missing = wanted - {row["pair_id"] for row in stored}
        chosen = choose_best(map(_candidate, stored), quotas)
        beaten = {row["pair_id"] for row in passing} - chosen
        decided = judged | {name: [_NOT_BEST] for name in beaten}
        for name in missing:
            self.outcomes[name] = _Outcome.NO_IMAGES
            del decided[name]
        return [self._change(row, decided.get(row["pair_id"])) for row in rows]

    def _change(self, row: Row, reasons: list[str] | None) -> Row:
        """Return the row with its new decision; None: with the old one."""
        if reasons is None:
            return row
        is_kept = not reasons
        if is_kept != row["kept"]:
            self.outcomes[row["pair_id"]] = _Outcome.KEPT if is_kept else _Outcome.DROPPED
        return {**row, "kept": is_kept, "reject_reasons": reasons}

    def change_run(self, run: RunInfo) -> RunInfo:
        """Return the run with the thresholds that decided last; called when all rows were seen."""
        missing = [name for name, what in self.outcomes.items() if what is _Outcome.NO_IMAGES]
        if missing and not self._leave_out:
            raise _no_images(missing)
        own = run.config.get("filter", {})
        merged = {**(run.recut or {}), **self.thresholds}
        differing = {name: value for name, value in merged.items() if own.get(name) != value}
        return run.model_copy(update={"recut": differing or None})


def _object(row: Row, objections: tuple[RejectReason, ...]) -> list[str]:
    """Return all that speaks against a pair, other attempts aside."""
    lasting = {RejectReason(reason) for reason in row["reject_reasons"]} - THRESHOLD_REASONS
    if row["image_part"] is not None:  # without images it cannot take the place of a better one
        lasting -= {RejectReason.NOT_BEST}
    return [r.value for r in RejectReason if r in lasting or r in objections]


def _edit_quotas(rows: Sequence[Row], run: RunInfo) -> dict[Edit, int]:
    """Return how many pairs of each edit the settings of a run keep: its quota, or all seeds."""
    edits = [_edit_of(row) for row in rows if row["status"] == Status.OK]
    requested = Counter(_edit_of(row) for row in rows if (row["attempt"] or 1) == 1)
    quota = run.config.get("selection", {}).get("quota")
    return {edit: quota or requested[edit] or 1 for edit in edits}


def _candidate(row: Row) -> Candidate[str]:
    return Candidate(row["pair_id"], _edit_of(row), row["combined"], row["attempt"] or 1)


def _edit_of(row: Row) -> Edit:
    return (row["group_id"], row["image_index_0"], row["image_index_1"])


def _no_images(missing: list[str]) -> DatasetError:
    return DatasetError(
        f"{len(missing)} pairs would be kept whose images were never stored, such as "
        f"{missing[0]}. A dataset that was built without --store-dropped can only be re-cut to "
        "stricter thresholds: add --leave-out to go on without these pairs, or build them again "
        "with --store-dropped into another dataset"
    )
