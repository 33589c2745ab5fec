"""Other thresholds over a finished dataset: a new snapshot, and nothing is generated."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from coupled_core.dataset.rewrite import Rewrite, rewrite_rows
from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import RunInfo, Snapshot
from coupled_core.errors import DatasetError
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
"""Reasons that a re-cut takes back or gives; others, such as unsafe or duplicate, stay."""


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
    action = Rewrite("recut", cut.thresholds, cut.change, cut.change_run)
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

    def change(self, row: Row, run: RunInfo) -> Row:
        """Return the row with its new decision."""
        if row["status"] != Status.OK or row["review_status"] is not None:
            return row
        changed = _decide(row, self._judge(row, {**run.thresholds, **self.thresholds}))
        if changed["kept"] and changed["image_part"] is None:
            self.outcomes[row["pair_id"]] = _Outcome.NO_IMAGES
            return row
        if changed["kept"] != row["kept"]:
            self.outcomes[row["pair_id"]] = _Outcome.KEPT if changed["kept"] else _Outcome.DROPPED
        return changed

    def change_run(self, run: RunInfo) -> RunInfo:
        """Return the run with the thresholds that decided last; called when all rows were seen."""
        missing = [name for name, what in self.outcomes.items() if what is _Outcome.NO_IMAGES]
        if missing and not self._leave_out:
            raise _no_images(missing)
        own = run.config.get("filter", {})
        merged = {**(run.recut or {}), **self.thresholds}
        differing = {name: value for name, value in merged.items() if own.get(name) != value}
        return run.model_copy(update={"recut": differing or None})


def _decide(row: Row, objections: tuple[RejectReason, ...]) -> Row:
    lasting = {RejectReason(reason) for reason in row["reject_reasons"]} - THRESHOLD_REASONS
    reasons = [r.value for r in RejectReason if r in lasting or r in objections]
    return {**row, "kept": not reasons, "reject_reasons": reasons}


def _no_images(missing: list[str]) -> DatasetError:
    return DatasetError(
        f"{len(missing)} pairs would be kept whose images were never stored, such as "
        f"{missing[0]}. A dataset that was built without --store-dropped can only be re-cut to "
        "stricter thresholds: add --leave-out to go on without these pairs, or build them again "
        "with --store-dropped into another dataset"
    )
