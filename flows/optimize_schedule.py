"""Prompts to a better schedule: race candidates, hold finals on other prompts, write."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prefect.futures import PrefectFuture, as_completed
from prefect.task_runners import ProcessPoolTaskRunner

from coupled_core.progress import current_progress
from coupled_core.research.evaluation.pairs import EvaluatedPair
from coupled_core.research.optimization.candidates import draw_candidates
from coupled_core.research.optimization.fitted_schedule import WrittenFiles, write_outcome
from coupled_core.research.optimization.preparation import Preparation, prepare_search
from coupled_core.research.optimization.racing import (
    RaceResult,
    RoundResult,
    check_steps,
    count_groups,
    hold_finals,
    plan_rounds,
    race,
)
from coupled_core.research.optimization.settings import OptimizeSettings
from coupled_core.research.optimization.trial import Trial, TrialRecords
from coupled_core.runs.profiles import Profile, layer_settings
from coupled_core.schedules.schedule import Schedule
from coupled_core.schedules.schedule_file import load_schedule
from coupled_core.storage.open_store import open_store
from flows.policy import observed_flow
from flows.worker_process import end_with_parent
from tasks.optimize import GROUPS, evaluate_candidate


class TrialQueue:
    """Answers the trials of one search: from its records, else by the evaluate task."""

    def __init__(
        self,
        settings: OptimizeSettings,
        records: TrialRecords,
        num_groups: int,
        pool: ProcessPoolTaskRunner | None = None,
    ) -> None:
        """Take the groups to be made at most, and where trials run side by side; None: nowhere."""
        self._settings, self._records, self._pool = settings, records, pool
        self._progress = current_progress()
        self._progress.begin(GROUPS, num_groups)
        self._asked: set[str] = set()

    def run(self, trials: Sequence[Trial]) -> list[list[EvaluatedPair]]:
        """Return the pairs of each trial."""
        if self._pool is not None:
            self._evaluate_side_by_side(trials, self._pool)
        return list(self._answer(trials))

    def remark(self, text: str) -> None:
        """Say how the race stands."""
        self._progress.remark(GROUPS, text)

    def expect(self, num_groups: int) -> None:
        """Say how many groups are to be made in all, at most."""
        self._progress.begin(GROUPS, num_groups)

    def _answer(self, trials: Sequence[Trial]) -> Iterator[list[EvaluatedPair]]:
        for trial in trials:
            pairs = self._records.read(trial)
            if pairs is None:
                pairs = evaluate_candidate(self._settings, trial)
                self._keep(trial, pairs)
            elif trial.key not in self._asked:
                self._count(trial, is_new=False)
            yield pairs

    def _evaluate_side_by_side(self, trials: Sequence[Trial], pool: ProcessPoolTaskRunner) -> None:
        unique = {trial.key: trial for trial in trials}.values()
        futures: dict[PrefectFuture[list[EvaluatedPair]], Trial] = {
            pool.submit(evaluate_candidate, {"settings": self._settings, "trial": trial}): trial
            for trial in unique
            if self._records.read(trial) is None
        }
        for future in as_completed(list(futures)):
            # Recorded as it ends, not when the round has ended: a kill loses only what is at work.
            self._keep(futures[future], future.result())

    def _keep(self, trial: Trial, pairs: Sequence[EvaluatedPair]) -> None:
        self._records.write(trial, pairs)
        self._count(trial, is_new=True)

    def _count(self, trial: Trial, *, is_new: bool) -> None:
        self._asked.add(trial.key)
        self._progress.advance(GROUPS, trial.stop - trial.start, is_new=is_new)


_DEFAULTS = OptimizeSettings()


@dataclass(frozen=True)
class OptimizeSummary:
    """The outcome of a search; JSON-able."""

    schedule: str | None
    """Path of the file; None: nothing better was found, and none was written."""
    schedule_id: str | None
    report: str
    """Path of all figures."""
    picture: str
    state: str
    """Folder that a further start of the search uses; may be deleted."""
    result: RaceResult
    left_over: str | None = None
    """Path of a schedule file that an earlier search has left where this one wrote none."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in JSON."""
        return {**vars(self), "result": self.result.to_dict()}


@observed_flow("optimize-schedule", "optimize", "output")
def optimize_schedule(
    prompts: str | list[str] = _DEFAULTS.run.prompts.uri,  # type: ignore[assignment]  # one
    output: str = _DEFAULTS.output,
    profile: Profile = "miniature",
    num_candidates: int = _DEFAULTS.num_candidates,
    num_final_groups: int | None = _DEFAULTS.num_final_groups,
    settings: OptimizeSettings | None = None,
) -> OptimizeSummary:
    """Race schedules on prompts; the same call continues a search that was killed.

    Args:
        prompts: Prompt set: a Parquet file, a folder, an s3:// location, or several.
        output: Schedule file to write, on the worker's disk; the state of the search lies beside.
        profile: Models that go together: generator, Segment Anything and CLIP.
        num_candidates: Candidates in the first round; more continue a search that ended.
        num_final_groups: Groups of the finals. Empty: all that are not raced on.
        settings: All settings, for experts; what is given above wins over them. Empty: all
            defaults.

    Raises:
        CoupledError: prompts, model or settings are not usable.
    """
    settings = settings or _DEFAULTS
    given = {
        "run": layer_settings(profile, settings.run, {"prompts.uri": prompts}),
        "output": settings.output if output == _DEFAULTS.output else output,
        "num_candidates": settings.num_candidates
        if num_candidates == _DEFAULTS.num_candidates
        else num_candidates,
        "num_final_groups": num_final_groups or settings.num_final_groups,
    }
    settings = OptimizeSettings.model_validate({**dict(settings), **given})
    if settings.workers == 1:
        return _search(settings, None)
    with ProcessPoolTaskRunner(settings.workers, initializer=end_with_parent) as pool:
        return _search(settings, pool)


def _search(settings: OptimizeSettings, pool: ProcessPoolTaskRunner | None) -> OptimizeSummary:
    ready = prepare_search(settings)
    before, candidates = _line_up(settings, ready)
    rounds = plan_rounds(
        len(candidates), settings.first_groups, settings.num_finalists, ready.num_race_groups
    )
    num_groups = count_groups(rounds, settings.num_finalists, ready.num_final_groups)
    trials = TrialQueue(settings, TrialRecords(open_store(ready.folder)), num_groups, pool)
    results = race(
        before, candidates, rounds, settings.num_finalists, settings.objective, trials.run
    )
    finalists = _list_finalists(candidates, results)
    trials.remark(f"{len(finalists)} in the finals")
    finals, means, winner = hold_finals(
        before, finalists, ready.num_final_groups, settings.objective, trials.run
    )
    result = RaceResult(settings.objective, before, means, results, finals, winner)
    if winner is not None:
        trials.expect(num_groups + 2 * len(settings.check_steps) * ready.num_final_groups)
        at_steps = check_steps(
            before,
            winner,
            settings.check_steps,
            ready.num_final_groups,
            settings.objective,
            trials.run,
        )
        result = replace(result, at_steps=at_steps)
    return _summarise(result, write_outcome(result, settings), ready, settings.output)


def _line_up(
    settings: OptimizeSettings, ready: Preparation
) -> tuple[Schedule, tuple[Schedule, ...]]:
    """Return the schedule to beat, and the candidates."""
    candidates = draw_candidates(
        ready.fitted_on,
        ready.before,
        family=settings.family,
        num_knots=settings.num_knots,
        count=settings.num_candidates,
        spread=settings.spread,
        seed=settings.run.generation.seed,
    )
    if ready.before is None:  # nothing is in use: the family's default has to be beaten
        return candidates[0], candidates[1:]
    return ready.before, candidates


def _list_finalists(
    candidates: Sequence[Schedule], results: Sequence[RoundResult]
) -> list[Schedule]:
    if not results:  # so few candidates that all are finalists
        return list(candidates)
    last = results[-1]
    return [each.schedule for each in last.standings[: last.num_left]]


def _summarise(
    result: RaceResult, files: WrittenFiles, ready: Preparation, output: str
) -> OptimizeSummary:
    schedule = None if files.schedule is None else load_schedule(files.schedule)
    is_left = files.schedule is None and Path(output).exists()
    return OptimizeSummary(
        schedule=None if files.schedule is None else str(files.schedule),
        schedule_id=None if schedule is None else schedule.id,
        report=str(files.report),
        picture=str(files.picture),
        state=str(ready.folder),
        result=result,
        left_over=output if is_left else None,
    )
