"""What a run says when it is over, to people and to programs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from coupled_core.config import RunConfig
from coupled_core.dataset.funnel import Funnel
from coupled_core.dataset.reader import current_snapshot
from coupled_core.storage.store import open_store

if TYPE_CHECKING:  # planning imports torch, which the command line has no time for before it starts
    from coupled_core.dataset.snapshot import Snapshot
    from coupled_core.planning import RunPlan


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
    """Of those in the dataset before this run."""
    num_shards: int
    """Shards with something new."""
    failed_shards: Mapping[int, str]
    """What went wrong, by shard."""
    funnel: Mapping[str, Any]
    """Of this run's rows in the dataset; of all rows where the run added none."""
    manifest_parts: tuple[str, ...]
    """All manifest parts of the snapshot."""
    contact_sheet: str | None = None
    """Where a picture of the pairs lies."""
    report: str | None = None
    """Where a page about the snapshot lies."""
    survival: Mapping[str, Any] | None = None
    """Pairs kept as a function of each threshold, by its name."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in JSON."""
        return asdict(self)


def summarise_run(
    config: RunConfig, plan: "RunPlan", new: "Snapshot | None", failures: Mapping[int, str]
) -> RunSummary:
    """Return what a run did, as the dataset now stands."""
    store = open_store(config.output.uri)
    current = new or current_snapshot(store)
    return RunSummary(
        run_id=plan.run_id,
        dataset=store.uri,
        snapshot_id=current.snapshot_id if current else None,
        is_new=new is not None,
        num_pairs=plan.num_pairs,
        num_pairs_before=plan.num_pairs_done,
        num_shards=len(plan.shards),
        failed_shards=dict(failures),
        funnel=_funnel_of(current, plan.run_id).to_dict(),
        manifest_parts=tuple(p.key for p in current.parts_of("manifest")) if current else (),
    )


def _funnel_of(snapshot: "Snapshot | None", run_id: str) -> Funnel:
    if snapshot is None:
        return Funnel()
    own = [run.funnel for run in snapshot.runs if run.run_id == run_id]
    return own[0] if own else snapshot.funnel
