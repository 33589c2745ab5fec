"""A prompt set to a dataset: plan, build the shards, commit what is finished."""

import time
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

from prefect import get_run_logger

from coupled_core.config import ExecutionConfig, RunConfig, RunSettings
from coupled_core.dataset.reader import current_snapshot
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.errors import (
    LlmBudgetError,
    LlmError,
    PromptSetError,
    is_passing,
    must_repeat,
    stage_of,
)
from coupled_core.progress import SilentProgress, current_progress, report_to
from coupled_core.redaction import clean_error
from coupled_core.runs import build
from coupled_core.runs.failure_budget import FailureBudget
from coupled_core.runs.plan import RunPlan, ShardPlan, find_finished
from coupled_core.runs.profiles import Profile, layer_settings
from coupled_core.runs.set_aside import find_set_aside, note_failure
from coupled_core.runs.summary import (
    RunSummary,
    ShardsFailedError,
    StoppedByLlmError,
    summarise_run,
)
from coupled_core.splitting.splitter import settle_split
from coupled_core.storage.open_store import open_store
from flows.build_ranges import build_in_ranges
from flows.fan_out import ShardOutcome, build_side_by_side
from flows.policy import observed_flow
from tasks.announce import ShownProgress, name_flow_run, show_summary
from tasks.metrics import BuildMetrics, exported_metrics
from tasks.run import commit, draw_sheet, plan, prepare_splits, write_report

_DEFAULTS = RunSettings()


@observed_flow("build-dataset", "build", "output")
def build_dataset(
    prompts: str | list[str] = _DEFAULTS.prompts.uri,  # type: ignore[assignment]  # one by default
    output: str = _DEFAULTS.output.uri,
    profile: Profile = "miniature",
    seed: int = _DEFAULTS.generation.seed,
    splitter: str = _DEFAULTS.split.splitter,
    max_llm_usd: float | None = _DEFAULTS.split.max_llm_usd,
    min_combined: float | None = None,
    shards: str | None = None,
    execution: ExecutionConfig | None = None,
    config: RunSettings | None = None,
) -> RunSummary:
    """Build what the dataset does not hold yet.

    A shard that fails does not stop the others. The same call continues an interrupted run, and
    does nothing once the dataset holds every pair. Several at a time divide the shards.

    Args:
        prompts: Prompt set: a Parquet file, a folder, a pattern or an s3:// location, or several.
        output: Dataset: a folder or s3://BUCKET/PREFIX.
        profile: Models that go together: generator, Segment Anything and CLIP.
        seed: Groups without a seed of their own derive theirs from this one.
        splitter: Who splits prompts into background and entities: offline, anthropic, or auto.
        max_llm_usd: Most USD that a language model may cost this run, all its attempts together.
        min_combined: Least combined score of kept pairs. Empty: what fits the CLIP model.
        shards: Ranges such as 0-99 to build, counted from 0. Empty: all that no other run builds.
            On a store that one writer has to itself a run without ranges comes last and commits.
        execution: Where shards are built, how often they are committed, when the run gives up.
            Empty: here, one after another.
        config: All settings, for experts; what differs from its default wins over the profile, and
            what is given above wins over both. Secrets come from the environment alone. Empty: all
            defaults.

    Raises:
        ShardsFailedError: some shards failed; the finished ones are committed. It is a
            StoppedByLlmError where the language model's API would stop any other run, too.
        CoupledError: nothing could be done, and why.
    """
    given = {
        "prompts.uri": prompts,
        "output.uri": output,
        "generation.seed": seed,
        "split.splitter": splitter,
        "split.max_llm_usd": max_llm_usd,
        "filter.min_combined": min_combined,
    }
    # A parameter at its default counts as not given, so that it cannot undo the profile or
    # `config`.
    asked = layer_settings(profile, config or _DEFAULTS, given)
    shown = ShownProgress(current_progress(), asked.output.uri)
    with exported_metrics(), report_to(shown):
        try:
            return _build(asked, execution or ExecutionConfig(), shards)
        finally:
            shown.end()


def _build(asked: RunConfig, execution: ExecutionConfig, shards: str | None) -> RunSummary:
    # `auto` is settled once, here: workers with another environment might choose another
    # splitter.
    started_at, config = time.monotonic(), settle_split(asked)
    run = plan(config, shards)
    name_flow_run(config.output.uri, run.run_id, shards)
    try:
        prepare_splits(config, run)
    except LlmBudgetError as error:  # shards whose answers are there already can still be built
        get_run_logger().warning("%s", error)
    # Without conditional writes two that commit at the same time would lose each other's rows.
    commits = shards is None or not config.output.single_writer
    building = _Building(config, execution, run, commits=commits)
    building.build_all()
    snapshot = building.snapshot
    # Whoever builds only a range leaves the pictures to whoever has divided the run.
    not_made = _make_pictures(config, run, snapshot) if snapshot and shards is None else {}
    summary = summarise_run(
        config,
        run,
        snapshot or (building.find_newer() if building.built_elsewhere else None),
        building.failures,
        stopped=building.stopped,
        is_over_budget=building.is_over_budget,
        asked=asked,
        not_made=not_made,
        built_elsewhere=building.built_elsewhere,
    )
    building.metrics.add_spending(summary.llm_spent_usd)
    show_summary(summary, time.monotonic() - started_at)
    if building.failures or building.stopped:
        raise (StoppedByLlmError if building.is_llm_away else ShardsFailedError)(summary)
    return summary


class _Building:
    """The open shards of a run under way: what became of them, and which are committed."""

    def __init__(
        self, config: RunConfig, execution: ExecutionConfig, run: RunPlan, *, commits: bool
    ) -> None:
        self._config, self._execution, self._run = config, execution, run
        self._commits = commits
        self._budget = FailureBudget(execution)
        # Only to tell later whether somebody else has committed meanwhile.
        before = current_snapshot(open_store(config.output.uri))
        self._before = before.snapshot_id if before else None
        self._finished = set(run.finished_shards)
        """Built, and not committed yet."""
        self._committed: set[int] = set()
        self.metrics = BuildMetrics(config.output.uri)
        self.failures: dict[int, str] = {}
        """What went wrong, by shard."""
        self.built_elsewhere: list[int] = []
        """Shards that other processes built meanwhile; committing them is no harm."""
        self.stopped: str | None = None
        """Why the remaining shards were not begun."""
        self.is_over_budget = False
        self.is_llm_away = False
        """The language model's API refuses us or does not answer."""
        self.snapshot: Snapshot | None = None
        """The newest of this run; None: it added nothing so far."""

    def build_all(self) -> None:
        """Build and commit; whatever stops it, the finished shards are committed first."""
        run, progress = self._run, current_progress()
        if not run.shards:
            return
        shards = self._leave_out_hopeless_shards()
        progress.begin("shards", len(shards))
        if run.finished_shards:
            there = f"{len(run.finished_shards)} of {len(run.shards)} shards are there"
            progress.within("shards", 0, there)
        num_pairs = sum(shard.num_pairs for shard in shards)
        progress.begin("generate", num_pairs)
        progress.begin("score", num_pairs)
        try:
            # Closed however the loop ends: the traceback of an exception would keep
            # the generator alive, and with it its workers.
            with closing(self._outcomes(shards)) as outcomes:
                for outcome in outcomes:
                    self._take(outcome)
                    progress.advance("shards")
                    if self.stopped is not None:
                        break
                    if len(self._finished) >= self._execution.commit_every:
                        self._commit()
        except BaseException:  # cancelled, terminated, interrupted, or hopeless for all
            # What stops the run may come between the moment in which a shard is marked as done
            # and the one in which it is counted here: the markers tell. A task of its own would be
            # refused in a run that is being cancelled.
            done = find_finished(open_store(self._config.output.uri), run.run_id)
            if self._commits:
                with report_to(SilentProgress()):  # reporting it would stop the commit, too
                    self._keep(build.commit_run(self._config, run, done - self._committed))
            raise
        # The last ones, fewer than `commit_every`.
        self._commit()
        if self._execution.runner == "deployment":  # others have committed
            self.snapshot = self.find_newer()

    def find_newer(self) -> Snapshot | None:
        """Return the current snapshot if somebody has committed since this began; else None."""
        found = current_snapshot(open_store(self._config.output.uri))
        return None if found is None or found.snapshot_id == self._before else found

    def _outcomes(self, shards: list[ShardPlan]) -> Generator[ShardOutcome, None, None]:
        if self._execution.runner != "deployment":
            yield from build_side_by_side(self._config, self._execution, shards)
            return
        store = open_store(self._config.output.uri)
        # Each run builds its range in its own process, and must not start further runs.
        here = self._execution.model_copy(update={"runner": "here", "deployment": None})
        parameters: dict[str, Any] = {
            "prompts": list(self._config.prompts.uris),
            "output": self._config.output.uri,
            "execution": here.model_dump(mode="json"),
            "config": self._config.model_dump(mode="json"),
        }
        yield from build_in_ranges(store, self._run, self._execution, parameters)

    def _leave_out_hopeless_shards(self) -> list[ShardPlan]:
        store, run = open_store(self._config.output.uri), self._run
        # They count as failed, or a run that leaves them out would pass for a complete one.
        aside = find_set_aside(store, run.run_id, self._execution.max_shard_failures)
        shards = run.open_shards
        self.failures.update(
            {s.shard_index: aside[s.shard_index] for s in shards if s.shard_index in aside}
        )
        return [shard for shard in shards if shard.shard_index not in aside]

    def _take(self, outcome: ShardOutcome) -> None:
        index, error = outcome.piece.shard_index, outcome.error
        if error is None:
            self._finished.add(index)
            if outcome.result is not None:
                self.metrics.add_built(outcome.result)
                self._budget.add_built(outcome.result.funnel)
            else:
                # Its seconds and its losses are counted by whoever built it, its pairs are only
                # ticked off.
                self.built_elsewhere.append(index)
                for stage in ("generate", "score"):
                    current_progress().advance(stage, outcome.piece.num_pairs)
        # It ends this run, not this shard alone: every other shard would ask the same API.
        elif isinstance(error, LlmError):  # what other shards have finished is committed
            self.stopped, self.is_llm_away = str(error), must_repeat(error)
        elif must_repeat(error) or isinstance(error, PromptSetError):
            raise error
        else:
            self._take_failure(outcome.piece, error)
        # After every outcome, failed or built: the budget may be spent by either.
        if self.stopped is None:
            self.stopped = self._budget.find_excess()
            self.is_over_budget = self.stopped is not None

    def _take_failure(self, shard: ShardPlan, error: BaseException) -> None:
        index, message = shard.shard_index, f"{type(error).__name__}: {error}"
        self.failures[index] = message
        self.metrics.add_failed(stage_of(error))
        self._budget.add_failed(shard.num_pairs, stage_of(error), type(error).__name__)
        get_run_logger().error("shard %05d failed at %s: %s", index, stage_of(error), error)
        get_run_logger().debug("traceback", exc_info=error)
        if not is_passing(error):  # an outage of the store says nothing about the shard
            store = open_store(self._config.output.uri)
            note_failure(store, self._run.run_id, index, message)

    def _commit(self) -> None:
        if not self._commits:
            return
        self._keep(commit(self._config, self._run, sorted(self._finished)))

    def _keep(self, snapshot: Snapshot | None) -> None:
        self._committed |= self._finished
        self._finished.clear()
        self.snapshot = snapshot or self.snapshot


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
