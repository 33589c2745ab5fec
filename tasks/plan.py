"""The plan task: is the input good, is the output safe, what is new."""

from prefect import get_run_logger

from coupled_core.config import RunConfig
from coupled_core.dataset.commit import ensure_conditional_writes
from coupled_core.dataset.reader import committed_pair_ids, current_snapshot
from coupled_core.planning import RunPlan, plan_run
from coupled_core.prompts.prompt_set import check_prompt_set, read_prompt_set
from coupled_core.run_facts import refuse_other_scores
from coupled_core.scoring.model_files import require_scorers
from coupled_core.storage.store import open_store
from tasks.models import generation_of, splitter_for
from tasks.policy import stage_task


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
