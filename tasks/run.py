"""The tasks of a run as a whole: plan before its shards, commit and pictures after them."""

from prefect import get_run_logger

from coupled_core.config import RunConfig
from coupled_core.dataset.backgrounds import compare_backgrounds
from coupled_core.dataset.commit.commit import commit_shards, ensure_conditional_writes
from coupled_core.dataset.parts import PublishedShard
from coupled_core.dataset.reader import committed_pair_ids, current_snapshot
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.dataset.work import WorkFolder
from coupled_core.prompts.prompt_set import check_prompt_set, read_prompt_set
from coupled_core.report.report import make_report, report_key, store_report
from coupled_core.runs.facts import describe_inputs, refuse_other_scores
from coupled_core.runs.models import generation_of, splitter_for
from coupled_core.runs.plan import RunPlan, plan_run
from coupled_core.runs.sheet import draw_run_sheet
from coupled_core.scoring.model_files import require_scorers
from coupled_core.storage.store import open_store
from tasks.policy import stage_task
from tasks.shard import work_of


@stage_task("plan")
def plan(config: RunConfig) -> RunPlan:
    """Check everything that can be checked before money is spent, then plan the run."""
    prompt_set = check_prompt_set(config.prompts)
    splitter, store = splitter_for(config.split), open_store(config.output.uri)
    ensure_conditional_writes(store, single_writer=config.output.single_writer)
    snapshot = current_snapshot(store)
    refuse_other_scores(config, snapshot, store.uri)
    found = plan_run(
        config,
        read_prompt_set(config.prompts),
        prompt_set,
        generation_of(config.generation),
        split_request=splitter.request_sha256,
        splitter_identity=splitter.identity,
        committed=committed_pair_ids(store, snapshot),
        store=store,
    )
    if found.open_shards:
        require_scorers(config.scoring)
    get_run_logger().info(
        "run %s: %d groups, %d pairs (%d in the dataset), %d shards to build, %d built before",
        found.run_id, found.num_groups, found.num_pairs, found.num_pairs_done,
        len(found.open_shards), len(found.finished_shards),
    )  # fmt: skip
    return found


@stage_task("commit")
def commit(config: RunConfig, plan: RunPlan) -> Snapshot | None:
    """Commit every finished shard of a run; None: the dataset holds all of it already."""
    store = open_store(config.output.uri)
    done = (WorkFolder(store, plan.run_id, shard.shard_index).read_done() for shard in plan.shards)
    snapshot = commit_shards(
        store,
        [PublishedShard.model_validate(value) for value in done if value is not None],
        describe_inputs(config, plan),
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
    get_run_logger().info(
        "report %s: %d pairs shown",
        report_key(snapshot.snapshot_id, "report.html"),
        report.num_shown,
    )


@stage_task("sheet", retries=2)
def draw_sheet(config: RunConfig, plan: RunPlan, snapshot: Snapshot) -> None:
    """Draw kept and dropped pairs of a run and store the picture beside its snapshot."""
    finished = {part.shard_index for part in snapshot.parts if part.run_id == plan.run_id}
    works = [work_of(config, shard) for shard in plan.shards if shard.shard_index in finished]
    key = f"reports/{snapshot.snapshot_id}/contact-sheet.png"
    data = draw_run_sheet(config, works, snapshot, generation_of(config.generation))
    open_store(config.output.uri).write(key, data)
    get_run_logger().info("contact sheet %s", key)
