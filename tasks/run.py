"""The tasks of a run as a whole: plan and splits before its shards, commit and pictures after."""

from collections.abc import Collection

from prefect import get_run_logger

from coupled_core.config import RunConfig
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.dataset.upkeep.partition import compare_new_backgrounds
from coupled_core.prompts.columns import describe_unknown
from coupled_core.prompts.prompt_set import unknown_columns_of
from coupled_core.redaction import redact
from coupled_core.report.contact_sheet import make_contact_sheet
from coupled_core.report.report import make_report, report_key, store_report
from coupled_core.runs import build
from coupled_core.runs.division import parse_ranges
from coupled_core.runs.models import generation_of, splitter_for
from coupled_core.runs.plan import RunPlan, plan_run
from coupled_core.runs.text_report import describe_losses
from coupled_core.storage.open_store import open_store
from coupled_core.storage.store import ObjectStore
from tasks.announce import announce_snapshot
from tasks.policy import stage_task


@stage_task("plan")
def plan(config: RunConfig, shards: str | None = None) -> RunPlan:
    """Check everything that can be checked before money is spent, then plan the run.

    Args:
        shards: Ranges such as 0-99 that somebody builds; None: all of them.
    """
    ranges = parse_ranges(shards) if shards is not None else None
    # Before the prompts are read, which may take minutes.
    splitter_for(config.split)  # says now that a key is missing
    found = plan_run(config, generation_of(config.generation))
    found = found if ranges is None else found.only(ranges)
    get_run_logger().info(
        "run %s: %d groups, %d pairs (%d in the dataset), %d shards to build, %d built before",
        found.run_id, found.num_groups, found.num_pairs, found.num_pairs_done,
        len(found.open_shards), len(found.finished_shards),
    )  # fmt: skip
    if unknown := describe_unknown(unknown_columns_of(found.inputs)):
        get_run_logger().warning("%s", unknown)
    if losses := describe_losses(found.texts):
        get_run_logger().warning("%s", losses)
    return found


@stage_task("prepare-splits")
def prepare_splits(config: RunConfig, plan: RunPlan) -> None:
    """Let the splitter ask about all groups at once; the shards find its answers."""
    if num_shards := build.prepare_splits(config, plan):
        get_run_logger().info("splits are ready for %d shards", num_shards)


@stage_task("commit")
def commit(config: RunConfig, plan: RunPlan, shards: Collection[int]) -> Snapshot | None:
    """Commit finished shards of a run; None: the dataset holds all of them already."""
    store, snapshot = open_store(config.output.uri), build.commit_run(config, plan, shards)
    get_run_logger().info("snapshot %s", snapshot.snapshot_id if snapshot else "unchanged")
    if snapshot is not None:
        announce_snapshot(store.uri, snapshot, plan.run_id)
        _warn_of_near_backgrounds(store, snapshot)
    return snapshot


def _warn_of_near_backgrounds(store: ObjectStore, snapshot: Snapshot) -> None:
    """Name what is perhaps a leak. Readers see the snapshot already: an error is only logged."""
    try:
        near = compare_new_backgrounds(store, snapshot)
    except Exception as error:  # whatever it is: the commit is done
        get_run_logger().warning("new backgrounds were not compared: %s", redact(str(error)))
        return
    if near:
        first = near[0]
        get_run_logger().warning(
            "%d new backgrounds are in another partition than one that differs by a word or two, "
            "such as %r (%s) and %r (%s): perhaps a leak; `coupled verify` names all",
            len(near), first.other, first.other_partition, first.background, first.partition,
        )  # fmt: skip


@stage_task("report", retries=2)
def write_report(config: RunConfig, snapshot: Snapshot) -> None:
    """Make the report of a snapshot and store it beside it."""
    store = open_store(config.output.uri)
    report = make_report(store, snapshot)
    store_report(store, snapshot.snapshot_id, report)
    key = report_key(snapshot.snapshot_id, "report.html")
    get_run_logger().info("report %s: %d pairs shown", key, report.num_shown)


@stage_task("sheet", retries=2)
def draw_sheet(config: RunConfig, snapshot: Snapshot, run_id: str) -> None:
    """Draw kept and dropped pairs of a run and store the picture beside its snapshot."""
    store = open_store(config.output.uri)
    key = report_key(snapshot.snapshot_id, "contact-sheet.png")
    store.write(key, make_contact_sheet(store, snapshot, run_id))
    get_run_logger().info("contact sheet %s", key)
