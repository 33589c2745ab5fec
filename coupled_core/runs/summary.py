"""What a run says when it is over, to people and to programs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from coupled_core.config import RunConfig
from coupled_core.dataset.funnel import Funnel
from coupled_core.dataset.reader import current_snapshot, iter_manifest
from coupled_core.errors import CoupledError, LlmError
from coupled_core.prompts.prompt_set import unknown_columns_of
from coupled_core.records import RejectReason
from coupled_core.runs.text_report import NO_TEXTS, TextReport
from coupled_core.splitting.splitter import account_of, describe_splitter, spent_usd
from coupled_core.storage.open_store import open_store
from coupled_core.storage.store import ObjectStore

if TYPE_CHECKING:  # planning imports torch, which the command line has no time for before it starts
    from coupled_core.dataset.snapshot import Snapshot
    from coupled_core.runs.plan import RunPlan


@dataclass(frozen=True)
class RunSummary:
    """The outcome of a run; JSON-able."""

    run_id: str
    dataset: str
    """Folder or s3:// location."""
    snapshot_id: str | None
    """The current state of the dataset; None: it is empty."""
    is_new: bool
    """The run made that snapshot."""
    num_pairs: int
    """Pairs of the prompt set."""
    num_pairs_before: int
    """Those among them that the dataset held before this run."""
    num_shards: int
    """Shards with something new."""
    failed_shards: Mapping[int, str]
    """What went wrong, by shard."""
    stopped: str | None
    """Why the remaining shards were not begun: the cap on spending, the LLM's API, or the budget
    for failures."""
    splitter: str
    """Who split what was not split already."""
    llm_cost_usd: float
    """What splitting this run's rows in the dataset has cost."""
    llm_spent_usd: float
    """The most that this run has spent, all attempts, with rows still to be built."""
    funnel: Mapping[str, Any]
    """This run's rows in the dataset by what became of them; all rows where the run added none."""
    manifest_parts: tuple[str, ...]
    """All manifest parts of the snapshot."""
    attempts: Mapping[str, int]
    """Most seeds tried for each requested one, pairs tried again, pairs spared by early stops."""
    is_over_budget: bool = False
    """It stopped since too many pairs failed or were rejected."""
    not_made: Mapping[str, str] = field(default_factory=dict)
    """Contact sheet or report, and why the committed data go without it; empty: all is there."""
    contact_sheet: str | None = None
    """Where a picture of the pairs lies."""
    report: str | None = None
    """Where a page about the snapshot lies."""
    unknown_columns: tuple[str, ...] = ()
    """Columns of the prompt set that are only carried through, with what was perhaps meant."""
    texts: TextReport = NO_TEXTS
    """How the models read the prompts that were still to be made, and how many were refused."""
    built_elsewhere: tuple[int, ...] = ()
    """Shards that other processes built while this run went on."""
    survival: Mapping[str, Any] | None = None
    """Pairs kept as a function of each threshold, by its name."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in JSON."""
        return asdict(self)


class ShardsFailedError(CoupledError):
    """Some shards failed; what the others made is committed."""

    def __init__(self, summary: RunSummary) -> None:
        super().__init__(
            summary.stopped
            or f"{len(summary.failed_shards)} of {summary.num_shards} shards failed, the others "
            "are committed; run the same command again to build them"
        )
        self.summary = summary

    def __reduce__(self) -> tuple[type[CoupledError], tuple[RunSummary]]:
        """Let it be pickled, as what flows raise is: from the summary, not from the text."""
        return type(self), (self.summary,)


class StoppedByLlmError(ShardsFailedError, LlmError):
    """The language model's API refused us or did not answer, as it would any other run."""


def summarise_run(
    config: RunConfig,
    plan: "RunPlan",
    new: "Snapshot | None",
    failures: Mapping[int, str],
    *,
    stopped: str | None,
    is_over_budget: bool,
    asked: RunConfig,
    not_made: Mapping[str, str],
    built_elsewhere: Sequence[int] = (),
) -> RunSummary:
    """Return what a run did, as the dataset now stands.

    Args:
        config: Settings as they were used.
        plan: What was to do.
        new: The snapshot of this run; None: it added nothing.
        failures: What went wrong, by shard.
        stopped: Why the remaining shards were not begun.
        is_over_budget: It was for failed or rejected pairs.
        asked: Settings as they were given.
        not_made: Pictures that could not be made, and why.
        built_elsewhere: Shards that other processes built meanwhile.
    """
    store = open_store(config.output.uri)
    current = new or current_snapshot(store)
    funnel = _funnel_of(current, plan.run_id)
    return RunSummary(
        run_id=plan.run_id,
        dataset=store.uri,
        snapshot_id=current.snapshot_id if current else None,
        is_new=new is not None,
        num_pairs=plan.num_pairs,
        num_pairs_before=plan.num_pairs_done,
        num_shards=len(plan.shards),
        failed_shards=dict(failures),
        stopped=stopped,
        is_over_budget=is_over_budget,
        splitter=describe_splitter(asked.split, config.split),
        llm_cost_usd=_cost_of_rows(store, current, plan.run_id),
        llm_spent_usd=spent_usd(config.split, account_of(config, plan.run_id)),
        funnel=funnel.to_dict(),
        manifest_parts=tuple(p.key for p in current.parts_of("manifest")) if current else (),
        attempts=_count_attempts(config.selection.attempts, funnel),
        not_made=not_made,
        unknown_columns=tuple(map(str, unknown_columns_of(plan.inputs))),
        texts=plan.texts,
        built_elsewhere=tuple(built_elsewhere),
    )


def _count_attempts(at_most: int, funnel: Funnel) -> dict[str, int]:
    retried = funnel.pairs_retried
    not_split = funnel.failed_by_reason.get(RejectReason.SPLIT_FAILED, 0)
    # What has no split is never made, so no attempt of it was spared.
    retriable = funnel.pairs_planned - retried - not_split
    spared = max(retriable * (at_most - 1) - retried, 0)
    return {"at_most": at_most, "pairs_tried_again": retried, "pairs_spared": spared}


def _cost_of_rows(store: ObjectStore, snapshot: "Snapshot | None", run_id: str) -> float:
    parts = [part for part in snapshot.parts if part.run_id == run_id] if snapshot else []
    columns = (batch.column(0) for batch in iter_manifest(store, parts, ["llm_cost_usd"]))
    # fsum, since thousands of tiny shares would add up to a total that differs from what was paid.
    return math.fsum(usd for column in columns for usd in column.to_pylist() if usd is not None)


def _funnel_of(snapshot: "Snapshot | None", run_id: str) -> Funnel:
    if snapshot is None:
        return Funnel()
    own = [run.funnel for run in snapshot.runs if run.run_id == run_id]
    return own[0] if own else snapshot.funnel
