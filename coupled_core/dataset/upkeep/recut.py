"""Other thresholds over a finished dataset: a new snapshot, and nothing is generated."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from coupled_core.config import FilterConfig
from coupled_core.dataset.best_pairs import Candidate, Edit, choose_best
from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import RunInfo
from coupled_core.dataset.upkeep.rewrite import Rewrite, RewriteReport, rewrite_rows
from coupled_core.errors import ConfigError, DatasetError
from coupled_core.filters import find_objections, list_filters, order_reasons
from coupled_core.records import RejectReason, Status
from coupled_core.storage.store import ObjectStore

_NOT_BEST = RejectReason.NOT_BEST.value


@dataclass(frozen=True)
class RecutReport(RewriteReport):
    """What a re-cut did."""

    num_without_images: int
    """Pairs that the thresholds would keep, but whose images were never stored: still dropped."""
    num_unmeasured: int = 0
    """Pairs without the score of a threshold that was given, because they are older than it or made
    without a region: it does not speak against them."""


def recut(
    store: ObjectStore,
    thresholds: Mapping[str, float],
    *,
    leave_out: bool = False,
    single_writer: bool = False,
) -> RecutReport:
    """Decide about every scored pair anew, and commit the decisions as a new snapshot.

    Thresholds that are not named stay those of each run. Reasons that no filter gives, such as
    unsafe or duplicate, outlast any threshold, and so does a person's verdict (`review_status`). Of
    several attempts the best is chosen anew, among those whose images are stored. Images of pairs
    that are dropped now stay in their parts, so the same dataset can be re-cut back.

    Args:
        thresholds: Bounds by the setting of their filter.
        leave_out: Leave pairs dropped whose images were never stored, instead of refusing.
        single_writer: Nothing else writes here.

    Raises:
        ConfigError: there is no threshold, or one has an unknown name or is out of its range.
        DatasetError: pairs would be kept whose images are not there; or as `rewrite_rows`.
    """
    _check(thresholds)
    cut = _Recut(dict(thresholds), leave_out)
    action = Rewrite("recut", cut.thresholds, cut.change_part, cut.change_run)
    report = rewrite_rows(store, action, single_writer=single_writer)
    return RecutReport(
        **vars(report),
        num_without_images=len(cut.without_images),
        num_unmeasured=len(cut.unmeasured),
    )


def _check(thresholds: Mapping[str, float]) -> None:
    if not thresholds:
        raise ConfigError("no threshold was given: name at least one, such as --min-combined 1.2")
    try:
        # Only for its bounds: settings that are not given are not taken from it.
        FilterConfig.model_validate(dict(thresholds))
    except ValidationError as error:
        problem = error.errors()[0]
        option = f"--{str(problem['loc'][0]).replace('_', '-')}"
        raise ConfigError(f"{option}: {problem['msg']} (got {problem['input']!r})") from error


class _Recut:
    """Decides row by row, and remembers the pairs that would be kept if they had images."""

    def __init__(self, thresholds: dict[str, float], leave_out: bool) -> None:
        self.thresholds = thresholds
        self.without_images: set[str] = set()
        self.unmeasured: set[str] = set()
        self._given = [each for each in list_filters() if each.setting in thresholds]
        self._leave_out = leave_out
        self._withdrawn = {each.reason for each in list_filters() if each.recut_takes_back}

    def change_part(self, rows: Sequence[Row], run: RunInfo) -> list[Row]:
        """Return the rows of a part with their new decisions."""
        thresholds = {**run.thresholds, **self.thresholds}
        judged = {
            row["pair_id"]: self._object(row, thresholds)
            for row in rows
            if row["status"] == Status.OK and row["review_status"] is None
        }
        # No reason at all; None are rows that are not judged, such as failed ones.
        passing = [row for row in rows if judged.get(row["pair_id"]) == []]
        quotas = _edit_quotas(rows, run)
        # Chosen twice. Among all that pass, to tell which would be kept if their images were there;
        # then among those that have images, which can in fact be kept.
        wanted = choose_best(map(_candidate, passing), quotas)
        stored = [row for row in passing if row["image_part"] is not None]
        missing = wanted - {row["pair_id"] for row in stored}
        chosen = choose_best(map(_candidate, stored), quotas)
        beaten = {row["pair_id"] for row in passing} - chosen
        decided = judged | {name: [_NOT_BEST] for name in beaten}
        # Their rows stay as they are; `change_run` refuses all of it unless they may be left out.
        self.without_images |= missing
        for name in missing:
            del decided[name]
        return [
            {**row, "kept": not reasons, "reject_reasons": reasons}
            if (reasons := decided.get(row["pair_id"])) is not None
            else row
            for row in rows
        ]

    def _object(self, row: Row, thresholds: Mapping[str, float]) -> list[str]:
        """Return all that speaks against a pair, other attempts aside."""
        if not all(each.can_judge(row) for each in self._given):
            self.unmeasured.add(row["pair_id"])
        lasting = {*row["reject_reasons"]} - self._withdrawn
        if row["image_part"] is not None:  # without images it cannot take a better one's place
            lasting -= {_NOT_BEST}
        given = (reason for reason, _ in find_objections(row, thresholds))
        return order_reasons([*lasting, *given])

    def change_run(self, run: RunInfo) -> RunInfo:
        """Return the run with the thresholds that decided last; called when all rows were seen."""
        if self.without_images and not self._leave_out:
            raise _no_images(self.without_images)
        own = run.config.get("filter", {})
        merged = {**(run.recut or {}), **self.thresholds}
        differing = {name: value for name, value in merged.items() if own.get(name) != value}
        return run.model_copy(update={"recut": differing or None})


def _edit_quotas(rows: Sequence[Row], run: RunInfo) -> dict[Edit, int]:
    """Return how many pairs of each edit the settings of a run keep: its quota, or all seeds."""
    edits = [_edit_of(row) for row in rows if row["status"] == Status.OK]
    requested = Counter(_edit_of(row) for row in rows if (row["attempt"] or 1) == 1)
    quota = run.config.get("selection", {}).get("quota")
    # A row may stand alone where the first attempt was another run's: then one is kept.
    return {edit: quota or requested[edit] or 1 for edit in edits}


def _candidate(row: Row) -> Candidate[str]:
    return Candidate(row["pair_id"], _edit_of(row), row["combined"], row["attempt"] or 1)


def _edit_of(row: Row) -> Edit:
    return (row["group_id"], row["image_index_0"], row["image_index_1"])


def _no_images(missing: set[str]) -> DatasetError:
    return DatasetError(
        f"{len(missing)} pairs would be kept whose images were never stored, such as "
        f"{min(missing)}. A dataset that was built without --store-dropped can only be re-cut to "
        "stricter thresholds: add --leave-out to go on without these pairs, or build them again "
        "with --store-dropped into another dataset"
    )
