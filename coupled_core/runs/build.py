"""A dataset from groups of prompts, in one process: `coupled_core.build_dataset`.

The Prefect flow does the same with a task for each step; both share what stands here.
"""

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from coupled_core.config import RunConfig
from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.dataset.commit.upload import read_uploaded
from coupled_core.dataset.opened import Dataset, open_dataset
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.dataset.work import WorkFolder
from coupled_core.progress import current_progress
from coupled_core.prompts.columns import describe_unknown
from coupled_core.prompts.prompt_set import IN_MEMORY, take_prompt_set
from coupled_core.records import PromptGroup
from coupled_core.runs.division import Elsewhere, divide_here, hold_shard, look_at_shards
from coupled_core.runs.facts import describe_inputs
from coupled_core.runs.keywords import config_from_keywords
from coupled_core.runs.models import generation_of, splitter_for
from coupled_core.runs.plan import RunPlan, ShardPlan, plan_run
from coupled_core.runs.planned import PlanFiles
from coupled_core.runs.refusals import refusal_for
from coupled_core.runs.shard import ShardWork, shards_to_split
from coupled_core.runs.steps import ShardResult, make_pairs, split, write
from coupled_core.runs.text_report import describe_losses
from coupled_core.splitting.splitter import account_of, settle_split
from coupled_core.storage.open_store import open_store


def build_dataset(
    groups: Iterable[Mapping[str, Any]], output: str | Path = "coupled-dataset", **settings: Any
) -> Dataset:
    """Build what a dataset does not hold yet of these groups, and return it as it then is.

    The rows are those of `coupled build`. Finished batches are kept: after an error or a kill the
    same call goes on, and once the dataset holds every pair it does nothing.

    Args:
        groups: A mapping a group with the columns of a prompt set: `group_id` and `prompts`, and
            any of the optional ones.
        output: A folder, or s3://BUCKET/PREFIX.
        settings: Any setting of a run by its bare name, such as `base_model` or `min_combined`.

    Raises:
        CoupledError: a setting or a group is wrong, or a stage cannot go on.
    """
    config = _settle(config_from_keywords(settings), str(output))
    given = take_prompt_set(groups, config.prompts)
    splitter_for(config.split)  # says now that a key is missing
    run = plan_run(config, generation_of(config.generation), given=given)
    if unknown := describe_unknown(given.file.unknown_columns):
        warnings.warn(unknown, stacklevel=2)
    if losses := describe_losses(run.texts):
        warnings.warn(losses, stacklevel=2)
    prepare_splits(config, run)
    progress = current_progress()
    progress.begin("shards", len(run.open_shards))

    def build(shard: ShardPlan) -> ShardResult | Elsewhere:
        return _build_shard(ShardWork(config, shard, run.generation))

    for outcome in divide_here(run.open_shards, look_at_shards(config), build, stage="shards"):
        if outcome.error is not None:
            raise outcome.error
        progress.advance("shards")
    # Finished shards of an earlier start count, too: they only wait for this commit.
    if run.shards:
        commit_run(config, run)
    return open_dataset(output)


def prepare_splits(config: RunConfig, run: RunPlan) -> int:
    """Let the splitter ask about all groups at once; return how many shards will find its answers.

    Raises:
        LlmError: the language model refuses, or the next request could pass the cap on spending.
    """
    shards = shards_to_split(config, run)
    if not shards:
        return 0
    open_indices = {shard.shard_index for shard in shards}
    # Read from the store, one shard in memory at a time; the splitter goes through them as often as
    # it needs.
    files = PlanFiles(open_store(config.output.uri), run.run_id, config.output.shard_size)
    refuse = refusal_for(config, run.generation)

    def read_groups() -> Iterator[PromptGroup]:
        for shard in files.read():
            if shard.shard_index in open_indices:
                groups = (planned.group for planned in shard.groups)
                yield from (group for group in groups if refuse(group) is None)

    splitter = splitter_for(config.split, account_of(config, run.run_id))
    splitter.prepare(read_groups, sum(shard.num_items for shard in shards))
    return len(shards)


def commit_run(
    config: RunConfig, run: RunPlan, only: Collection[int] | None = None
) -> Snapshot | None:
    """Commit the finished shards of a run; None: the dataset holds all of them already.

    Args:
        only: Shards to look at; None: every one with something new.
    """
    store = open_store(config.output.uri)
    indices = [s.shard_index for s in run.shards if only is None or s.shard_index in only]
    works = (WorkFolder(store, run.run_id, index) for index in indices)
    return commit_shards(
        store,
        [shard for shard in map(read_uploaded, works) if shard is not None],
        describe_inputs(config, run.run_id, run.inputs),
        single_writer=config.output.single_writer,
    )


def _settle(config: RunConfig, output: str) -> RunConfig:
    places = {
        "output": config.output.model_copy(update={"uri": output}),
        "prompts": config.prompts.model_copy(update={"uri": IN_MEMORY}),
    }
    return settle_split(config.model_copy(update=places))


def _build_shard(work: ShardWork) -> ShardResult | Elsewhere:
    with hold_shard(work) as elsewhere:
        if elsewhere is not None:
            return elsewhere
        split(work)
        for attempt in range(1, work.config.selection.attempts + 1):
            if not make_pairs(work, attempt):
                break
        return write(work)
