"""A dataset from groups of prompts, in one process: `coupled_core.build_dataset`."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from coupled_core.config import RunConfig
from coupled_core.dataset.commit.commit import commit_shards, ensure_conditional_writes
from coupled_core.dataset.opened import Dataset, open_dataset
from coupled_core.dataset.parts import PublishedShard
from coupled_core.dataset.reader import committed_pair_ids, current_snapshot
from coupled_core.dataset.work import WorkFolder
from coupled_core.generation.provenance import choose_device
from coupled_core.keywords import config_from_keywords
from coupled_core.progress import current_progress
from coupled_core.prompts.prompt_set import IN_MEMORY, PromptSetSummary, take_prompt_set
from coupled_core.records import PromptGroup, QuarantinedRow
from coupled_core.runs.facts import describe_inputs, describe_run, refuse_other_scores
from coupled_core.runs.filter_stage import filter_shard
from coupled_core.runs.generate_stage import generate_shard
from coupled_core.runs.models import (
    content_filter_for,
    generation_of,
    generator_for,
    scorer_for,
    splitter_for,
)
from coupled_core.runs.plan import PromptItem, RunPlan, ShardPlan, name_samples, plan_run
from coupled_core.runs.score_stage import score_shard
from coupled_core.runs.shard import ShardWork, open_shard, shards_to_split
from coupled_core.runs.split_stage import split_shard
from coupled_core.runs.write_stage import write_shard
from coupled_core.scoring.model_files import require_scorers
from coupled_core.splitting.refusal import refusal_of
from coupled_core.splitting.splitter import Splitter, account_of, settle_split
from coupled_core.storage.store import open_store


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
    items, prompt_set = take_prompt_set(groups, config.prompts)
    run = _plan(config, items, prompt_set)
    if run.open_shards:
        _build_shards(config, run, items)
    if run.shards:
        _commit(config, run)
    return open_dataset(output)


def _settle(config: RunConfig, output: str) -> RunConfig:
    places = {
        "output": config.output.model_copy(update={"uri": output}),
        "prompts": config.prompts.model_copy(update={"uri": IN_MEMORY}),
    }
    return settle_split(config.model_copy(update=places))


def _plan(config: RunConfig, items: Sequence[PromptItem], prompt_set: PromptSetSummary) -> RunPlan:
    store, splitter = open_store(config.output.uri), splitter_for(config.split)
    ensure_conditional_writes(store, single_writer=config.output.single_writer)
    snapshot = current_snapshot(store)
    refuse_other_scores(config, snapshot, store.uri)
    run = plan_run(
        config,
        items,
        prompt_set,
        generation_of(config.generation),
        split_request=splitter.request_sha256,
        splitter_identity=splitter.identity,
        committed=committed_pair_ids(store, snapshot),
        store=store,
    )
    if run.open_shards:
        require_scorers(config.scoring)
    return run


def _build_shards(config: RunConfig, run: RunPlan, items: Sequence[PromptItem]) -> None:
    splitter = splitter_for(config.split, account_of(config, run.run_id))
    refuse = refusal_of(config.content_filter)
    unsplit = [g for s in shards_to_split(config, run) for g in _groups(_items_of(s, items))]
    # An LLM is asked about all groups together, in large batches and not shard by shard.
    asked = [group for group in unsplit if refuse(group) is None]
    splitter.prepare(lambda: asked, len(asked))
    names = name_samples(config, run.generation, splitter.request_sha256)
    progress = current_progress()
    progress.begin("shards", len(run.open_shards))
    for shard in run.open_shards:
        _build_shard(open_shard(config, shard, names), _items_of(shard, items), splitter)
        progress.advance("shards")


def _build_shard(work: ShardWork, items: Sequence[PromptItem], splitter: Splitter) -> None:
    config, folder = work.config, work.folder
    bad = [item for item in items if isinstance(item, QuarantinedRow)]
    split_shard(_groups(items), bad, splitter, folder, refusal_of(config.content_filter))
    for attempt in range(1, config.selection.attempts + 1):
        if not _make_attempt(work, attempt):
            break
    batch_size = config.generation.batch_size
    filter_shard(
        work.samples(), folder, config.filter, batch_size=batch_size, selection=config.selection
    )
    published = write_shard(
        work.content(),
        folder,
        work.store,
        describe_run(config, work.plan.run_id),
        generation_of(config.generation),
        batch_size=batch_size,
        store_dropped=config.output.store_dropped,
    )
    folder.write_done(published.model_dump(mode="json"))


def _make_attempt(work: ShardWork, attempt: int) -> bool:
    """Generate and score one attempt; False: no group needs it."""
    config, samples = work.config, work.samples(attempt)
    if all(sample.attempt != attempt for sample in samples.values()):
        return False
    generate_shard(
        samples,
        lambda: generator_for(config.generation),
        work.folder,
        batch_size=config.generation.batch_size,
        image_format=config.output.image_format,
        progress=current_progress(),
        attempt=attempt,
    )
    device = str(choose_device(config.generation.device))
    score_shard(
        samples,
        lambda: scorer_for(config.scoring, device),
        work.folder,
        batch_size=config.generation.batch_size,
        progress=current_progress(),
        attempt=attempt,
        load_content_filter=lambda: content_filter_for(
            config.content_filter, config.scoring, device
        ),
    )
    return True


def _commit(config: RunConfig, run: RunPlan) -> None:
    store = open_store(config.output.uri)
    done = (WorkFolder(store, run.run_id, shard.shard_index).read_done() for shard in run.shards)
    commit_shards(
        store,
        [PublishedShard.model_validate(value) for value in done if value is not None],
        describe_inputs(config, run),
        single_writer=config.output.single_writer,
    )


def _items_of(shard: ShardPlan, items: Sequence[PromptItem]) -> Sequence[PromptItem]:
    return items[shard.first_item : shard.first_item + shard.num_items]


def _groups(items: Iterable[PromptItem]) -> list[PromptGroup]:
    return [item for item in items if isinstance(item, PromptGroup)]
