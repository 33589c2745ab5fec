"""A prompt set to a dataset: plan, build shard by shard, commit what is finished."""

from collections.abc import Callable

from prefect import flow, get_run_logger

from coupled_core.config import RunConfig
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.errors import (
    ConfigError,
    LlmBudgetError,
    LlmError,
    ModelUnavailableError,
    PromptSetError,
    ScheduleError,
)
from coupled_core.progress import current_progress
from coupled_core.redaction import clean_error
from coupled_core.runs.plan import RunPlan, ShardPlan
from coupled_core.runs.summary import RunSummary, ShardsFailedError, summarise_run
from coupled_core.splitting.splitter import settle_split
from flows.build_shard import build_shard
from tasks.run import commit, draw_sheet, plan, prepare_splits, write_report

_DEFAULTS = RunConfig()
_HOPELESS = (ConfigError, ModelUnavailableError, PromptSetError, ScheduleError)
"""What would fail every other shard, too."""


@flow(name="build-dataset", persist_result=False)
def build_dataset(config: RunConfig = _DEFAULTS) -> RunSummary:
    """Build what the dataset does not hold yet.

    A shard that fails does not stop the others. The same call continues an interrupted run, and
    does nothing once the dataset holds every pair.

    Args:
        config: All settings. It holds no secrets: those come from the environment.

    Raises:
        ShardsFailedError: some shards failed; the finished ones are committed.
        CoupledError: nothing could be done, and why.
    """
    asked, config = config, settle_split(config)
    run = plan(config)
    try:
        prepare_splits(config, run)
    except LlmBudgetError as error:  # shards whose answers are there already can still be built
        get_run_logger().warning("%s", error)
    failures, stopped = _build_shards(config, run)
    snapshot = commit(config, run) if run.shards else None
    not_made = {} if snapshot is None else _make_pictures(config, run, snapshot)
    summary = summarise_run(
        config, run, snapshot, failures, stopped=stopped, asked=asked, not_made=not_made
    )
    if failures or stopped:
        raise ShardsFailedError(summary)
    return summary


def _make_pictures(config: RunConfig, run: RunPlan, snapshot: Snapshot) -> dict[str, str]:
    """Draw what people look at; return what could not be drawn, and why.

    The data are committed, whether or not that works: the run has succeeded, and its summary says
    what it lacks.
    """
    not_made = {}
    pictures: dict[str, Callable[[], None]] = {
        "contact sheet": lambda: draw_sheet(config, snapshot, run.run_id),
        "report": lambda: write_report(config, snapshot),
    }
    for name, make in pictures.items():
        try:
            make()
        except Exception as raised:  # of whatever kind: no picture is worth a failed night
            error = clean_error(raised)
            not_made[name] = f"{type(error).__name__}: {error}"
            get_run_logger().warning(
                "the data are committed, but their %s could not be made: %s", name, error
            )
            get_run_logger().debug("traceback", exc_info=error)
    return not_made


def _build_shards(config: RunConfig, run: RunPlan) -> tuple[dict[int, str], str | None]:
    """Build the open shards; return what went wrong, by shard, and what stopped the rest."""
    progress = current_progress()
    progress.begin("shards", len(run.open_shards))
    num_pairs = sum(shard.num_pairs for shard in run.open_shards)
    progress.begin("generate", num_pairs)
    progress.begin("score", num_pairs)
    failures: dict[int, str] = {}
    for shard in run.open_shards:
        try:
            failure = _try_shard(config, shard)
        except LlmError as error:
            return failures, str(error)
        if failure is not None:
            failures[shard.shard_index] = failure
        progress.advance("shards")
    return failures, None


def _try_shard(config: RunConfig, shard: ShardPlan) -> str | None:
    """Build a shard and return None, or what went wrong."""
    try:
        build_shard(config, shard)
    except (*_HOPELESS, LlmError):
        raise
    except Exception as raised:  # whatever it is, the other shards are not to blame
        error = clean_error(raised)
        get_run_logger().error("shard %d failed: %s", shard.shard_index, error)
        get_run_logger().debug("traceback", exc_info=error)
        return f"{type(error).__name__}: {error}"
    return None
