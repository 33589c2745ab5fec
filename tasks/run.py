"""The tasks of a run as a whole: plan and splits before its shards, commit and pictures after."""

from collections.abc import Iterator

from prefect import get_run_logger

from coupled_core.config import RunConfig
from coupled_core.dataset.backgrounds import compare_backgrounds
from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.parts import PublishedShard
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.dataset.work import WorkFolder
from coupled_core.records import PromptGroup
from coupled_core.report.contact_sheet import make_contact_sheet
from coupled_core.report.report import make_report, report_key, store_report
from coupled_core.runs.facts import describe_inputs
from coupled_core.runs.plan import RunPlan, plan_run
from coupled_core.runs.planned import PlanFiles
from coupled_core.runs.shard import shards_to_split
from coupled_core.splitting.refusal import refusal_of
from coupled_core.splitting.splitter import account_of
from coupled_core.storage.store import open_store
from tasks.models import generation_of, splitter_for
from tasks.policy import stage_task


@stage_task("plan")
def plan(config: RunConfig) -> RunPlan:
    """Check everything that can be checked before money is spent, then plan the run."""
    splitter_for(config.split)  # says now that a key is missing
    found = plan_run(config, generation_of(config.generation))
    get_run_logger().info(
        "run %s: %d groups, %d pairs (%d in the dataset), %d shards to build, %d built before",
        found.run_id, found.num_groups, found.num_pairs, found.num_pairs_done,
        len(found.open_shards), len(found.finished_shards),
    )  # fmt: skip
    return found


@stage_task("prepare-splits")
def prepare_splits(config: RunConfig, plan: RunPlan) -> None:
    """Let the splitter ask about all groups at once; the shards find its answers."""
    shards = shards_to_split(config, plan)
    if not shards:
        return
    open_indices = {shard.shard_index for shard in shards}
    files = PlanFiles(open_store(config.output.uri), plan.run_id, config.output.shard_size)

    def read_groups() -> Iterator[PromptGroup]:
        for shard in files.read():
            if shard.shard_index in open_indices:
                groups = (planned.group for planned in shard.groups)
                yield from (group for group in groups if refuse(group) is None)

    refuse = refusal_of(config.content_filter)
    splitter = splitter_for(config.split, account_of(config, plan.run_id))
    splitter.prepare(read_groups, sum(shard.num_items for shard in shards))
    get_run_logger().info("%s: ready for %d shards", splitter.identity, len(shards))


@stage_task("commit")
def commit(config: RunConfig, plan: RunPlan) -> Snapshot | None:
    """Commit every finished shard of a run; None: the dataset holds all of it already."""
    store = open_store(config.output.uri)
    done = (WorkFolder(store, plan.run_id, shard.shard_index).read_done() for shard in plan.shards)
    snapshot = commit_shards(
        store,
        [PublishedShard.model_validate(value) for value in done if value is not None],
        describe_inputs(config, plan.run_id, plan.inputs),
        single_writer=config.output.single_writer,
    )
    get_run_logger().info("snapshot %s", snapshot.snapshot_id if snapshot else "unchanged")
    if snapshot is not None and (near := compare_backgrounds(store, snapshot)):
        get_run_logger().warning(
            "%d backgrounds are in another split than one that differs by a word or two, such as "
            "%r (%s) and %r (%s): perhaps a leak; `coupled verify` names all",
            len(near), near[0].other, near[0].other_split, near[0].background, near[0].split,
        )  # fmt: skip
    return snapshot


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
    store, key = (
        open_store(config.output.uri),
        report_key(snapshot.snapshot_id, "contact-sheet.png"),
    )
    store.write(key, make_contact_sheet(store, snapshot, run_id))
    get_run_logger().info("contact sheet %s", key)
