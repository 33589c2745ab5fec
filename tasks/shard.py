"""The tasks of one shard: split, generate, score, filter, write."""

from collections.abc import Iterator

from prefect import get_run_logger

from coupled_core.config import RunConfig
from coupled_core.generation.provenance import choose_device
from coupled_core.progress import current_progress
from coupled_core.records import PromptGroup, QuarantinedRow, Rejection
from coupled_core.runs.facts import describe_run
from coupled_core.runs.filter_stage import filter_shard
from coupled_core.runs.generate_stage import generate_shard
from coupled_core.runs.models import (
    content_filter_for,
    generation_of,
    generator_for,
    prompts_of,
    scorer_for,
    splitter_for,
)
from coupled_core.runs.plan import RunPlan, SampleNames, ShardPlan, name_samples
from coupled_core.runs.score_stage import score_shard
from coupled_core.runs.shard import ShardWork, open_shard, shards_to_split
from coupled_core.runs.split_stage import split_shard
from coupled_core.runs.write_stage import write_shard
from coupled_core.splitting.refusal import refusal_of
from coupled_core.splitting.splitter import account_of
from tasks.policy import stage_task


def names_of(config: RunConfig) -> SampleNames:
    """Return how the pairs of a run are named."""
    splitter = splitter_for(config.split)
    return name_samples(config, generation_of(config.generation), splitter.request_sha256)


def work_of(config: RunConfig, shard: ShardPlan) -> ShardWork:
    """Return the work of one shard."""
    return open_shard(config, shard, names_of(config))


@stage_task("prepare-splits")
def prepare_splits(config: RunConfig, plan: RunPlan) -> None:
    """Let the splitter ask about all groups at once; the shards find its answers."""
    shards = shards_to_split(config, plan)
    if not shards:
        return

    def read_groups() -> Iterator[PromptGroup]:
        for shard in shards:
            items = prompts_of(config.prompts).read(shard.first_item, shard.num_items)
            groups = (item for item in items if isinstance(item, PromptGroup))
            yield from (group for group in groups if refuse(group) is None)

    refuse = refusal_of(config.content_filter)
    splitter = splitter_for(config.split, account_of(config, plan.run_id))
    splitter.prepare(read_groups, sum(shard.num_items for shard in shards))
    get_run_logger().info("%s: ready for %d shards", splitter.identity, len(shards))


@stage_task("split")
def split(config: RunConfig, shard: ShardPlan) -> None:
    """Split the groups of a shard."""
    items = prompts_of(config.prompts).read(shard.first_item, shard.num_items)
    result = split_shard(
        [item for item in items if isinstance(item, PromptGroup)],
        [item for item in items if isinstance(item, QuarantinedRow)],
        splitter_for(config.split, account_of(config, shard.run_id)),
        work_of(config, shard).folder,
        refusal_of(config.content_filter),
    )
    num_failed = sum(isinstance(outcome, Rejection) for outcome in result.outcomes)
    get_run_logger().info(
        "shard %d: split %d groups, %d failed, %d rows quarantined",
        shard.shard_index, len(result.groups), num_failed, len(result.quarantined),
    )  # fmt: skip


@stage_task("generate")
def generate(config: RunConfig, shard: ShardPlan, attempt: int = 1) -> bool:
    """Generate what is not there yet of an attempt; False: no group of the shard needs it."""
    work, progress = work_of(config, shard), current_progress()
    samples = work.samples(attempt)
    wanted = [sample for sample in samples.values() if sample.attempt == attempt]
    if attempt > 1:
        for stage in ("generate", "score"):
            progress.extend(stage, sum(len(sample.pairs) for sample in wanted))
    num_generated = generate_shard(
        samples,
        lambda: generator_for(config.generation),
        work.folder,
        batch_size=config.generation.batch_size,
        image_format=config.output.image_format,
        progress=progress,
        attempt=attempt,
    )
    get_run_logger().info(
        "shard %d, attempt %d: %d groups, generated %d batches",
        shard.shard_index, attempt, len(wanted), num_generated,
    )  # fmt: skip
    return bool(wanted)


@stage_task("score")
def score(config: RunConfig, shard: ShardPlan, attempt: int = 1) -> None:
    """Score what is not scored yet of an attempt."""
    work = work_of(config, shard)
    device = str(choose_device(config.generation.device))
    num_scored = score_shard(
        work.samples(attempt),
        lambda: scorer_for(config.scoring, device),
        work.folder,
        batch_size=config.generation.batch_size,
        progress=current_progress(),
        attempt=attempt,
        load_content_filter=lambda: content_filter_for(
            config.content_filter, config.scoring, device
        ),
    )
    get_run_logger().info("shard %d: scored %d batches", shard.shard_index, num_scored)


@stage_task("filter")
def filter_pairs(config: RunConfig, shard: ShardPlan) -> None:
    """Decide about every scored pair."""
    work = work_of(config, shard)
    counts = filter_shard(
        work.samples(),
        work.folder,
        config.filter,
        batch_size=config.generation.batch_size,
        selection=config.selection,
    )
    get_run_logger().info("shard %d: %s", shard.shard_index, dict(counts))


@stage_task("write")
def write(config: RunConfig, shard: ShardPlan) -> None:
    """Write and upload the parts of a shard, then mark it finished."""
    work = work_of(config, shard)
    published = write_shard(
        work.content(),
        work.folder,
        work.store,
        describe_run(config, shard.run_id),
        generation_of(config.generation),
        batch_size=config.generation.batch_size,
        store_dropped=config.output.store_dropped,
    )
    work.folder.write_done(published.model_dump(mode="json"))
    get_run_logger().info(
        "shard %d: wrote %s", shard.shard_index, ", ".join(part.key for part in published.parts)
    )
