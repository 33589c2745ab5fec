"""Prompts to a fitted schedule: search, judge on other prompts, write."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from prefect.futures import PrefectFuture, as_completed
from prefect.task_runners import ProcessPoolTaskRunner

from coupled_core.progress import current_progress
from coupled_core.research.evaluation.pairs import EvaluatedPair, mean_objective
from coupled_core.research.optimization.fitted_schedule import finish_schedule, write_schedule
from coupled_core.research.optimization.judgement import (
    Finalist,
    FitReport,
    hold_finals,
    judge_schedule,
)
from coupled_core.research.optimization.preparation import Preparation, prepare_search
from coupled_core.research.optimization.schedule_search import (
    FoundSchedule,
    Search,
    extension_of,
    search_schedule,
)
from coupled_core.research.optimization.search import Evaluation
from coupled_core.research.optimization.settings import OptimizeSettings
from coupled_core.research.optimization.trial import Trial, TrialRecords
from coupled_core.runs.profiles import Profile, layer_settings
from coupled_core.schedules.schedule import Schedule
from coupled_core.storage.open_store import open_store
from flows.policy import observed_flow
from flows.worker_process import end_with_parent
from tasks.optimize import evaluate_candidate

_EVALUATIONS, _SAMPLES = "evaluations", "samples"


class TrialQueue:
    """Answers the trials of one search: from its records, else by the evaluate task."""

    def __init__(
        self,
        settings: OptimizeSettings,
        records: TrialRecords,
        num_samples: Mapping[str, int],
        pool: ProcessPoolTaskRunner | None = None,
    ) -> None:
        """Take the number of samples by side, and where trials run side by side; None: nowhere."""
        self._settings, self._records, self._pool = settings, records, pool
        self._num_samples = num_samples
        self._progress = current_progress()
        self._open = {"train": 0, "validation": 0}
        self._done = {"train": 0, "validation": 0}
        self._num_answered = self._num_noted = 0
        self._best = float("-inf")
        self.expect(train=settings.budget)

    def expect(self, *, train: int = 0, validation: int = 0) -> None:
        """Say how many trials are still to come."""
        self._open = {"train": train, "validation": validation}
        self._show_totals()

    def objectives(self, schedules: Sequence[Schedule]) -> Iterator[float]:
        """Yield the objective of each candidate, as soon as it and those before it are known."""
        for pairs in self._answer([Trial(schedule, "train") for schedule in schedules]):
            self._num_answered += 1
            yield mean_objective(pairs)

    def run(self, trials: Sequence[Trial]) -> list[list[EvaluatedPair]]:
        """Return the pairs of each trial."""
        # The same schedule may be asked for twice in one call, and is run once.
        sides = [trial.side for trial in {trial.key: trial for trial in trials}.values()]
        self.expect(train=sides.count("train"), validation=sides.count("validation"))
        return list(self._answer(trials))

    def note(self, evaluation: Evaluation) -> None:
        """Take note of an evaluation of the search; those from its history cost nothing."""
        self._num_noted += 1
        # It was not asked for in this process: an earlier run of the search has answered it, and
        # the search reads it from its history.
        if self._num_noted > self._num_answered:
            self._num_answered = self._num_noted
            self._skip("train")
        self._best = max(self._best, evaluation.objective)
        self._progress.remark(_EVALUATIONS, f"best J {self._best:.4f}")

    def _answer(self, trials: Sequence[Trial]) -> Iterator[list[EvaluatedPair]]:
        if self._pool is not None:
            self._evaluate_side_by_side(trials, self._pool)
        answered: set[str] = set()  # one trial may be asked for twice; it was expected once
        for trial in trials:
            # After a round of the pool every record is there; the search wants them in the order in
            # which it asked.
            pairs = self._records.read(trial)
            if pairs is None:
                pairs = evaluate_candidate(self._settings, trial)
                self._keep(trial, pairs)
            elif self._pool is None and trial.key not in answered:
                self._skip(trial.side)
            answered.add(trial.key)
            yield pairs

    def _evaluate_side_by_side(self, trials: Sequence[Trial], pool: ProcessPoolTaskRunner) -> None:
        unique = {trial.key: trial for trial in trials}.values()
        new = [trial for trial in unique if self._records.read(trial) is None]
        futures: dict[PrefectFuture[list[EvaluatedPair]], Trial] = {
            pool.submit(evaluate_candidate, {"settings": self._settings, "trial": trial}): trial
            for trial in new
        }
        for future in as_completed(list(futures)):
            trial = futures[future]
            self._progress.advance(_SAMPLES, self._num_samples[trial.side])
            # Recorded as it ends, not when the round has ended: a kill loses only what is at work.
            self._keep(trial, future.result())

    def _keep(self, trial: Trial, pairs: Sequence[EvaluatedPair]) -> None:
        self._records.write(trial, pairs)
        self._done[trial.side] += 1
        self._open[trial.side] = max(0, self._open[trial.side] - 1)
        self._progress.advance(_EVALUATIONS)

    def _skip(self, side: str) -> None:
        self._open[side] = max(0, self._open[side] - 1)
        self._show_totals()

    def _show_totals(self) -> None:
        planned = {side: self._open[side] + self._done[side] for side in self._open}
        self._progress.begin(_EVALUATIONS, sum(planned.values()))
        samples = sum(self._num_samples[side] * count for side, count in planned.items())
        self._progress.begin(_SAMPLES, samples)


_DEFAULTS = OptimizeSettings()


@dataclass(frozen=True)
class OptimizeSummary:
    """The outcome of a search; JSON-able."""

    schedule: str
    """Path of the file."""
    schedule_id: str
    family: str
    parameters: Mapping[str, Any]
    num_evaluations: int
    picture: str
    state: str
    """Folder that a further start of the search uses; may be deleted."""
    finalists: tuple[Finalist, ...]
    """Best first; empty: the search alone decided."""
    report: FitReport

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in JSON."""
        finalists = [finalist.to_dict() for finalist in self.finalists]
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**plain, "finalists": finalists, "report": self.report.to_dict()}


@observed_flow("optimize-schedule", "optimize", "output")
def optimize_schedule(
    prompts: str | list[str] = _DEFAULTS.run.prompts.uri,  # type: ignore[assignment]  # one
    output: str = _DEFAULTS.output,
    profile: Profile = "miniature",
    budget: int = _DEFAULTS.budget,
    num_groups: int | None = _DEFAULTS.num_groups,
    settings: OptimizeSettings | None = None,
) -> OptimizeSummary:
    """Fit a schedule to prompts; the same call continues a search that was killed.

    Args:
        prompts: Prompt set: a Parquet file, a folder, an s3:// location, or several.
        output: Schedule file to write, on the worker's disk; the state of the search lies beside.
        profile: Models that go together: generator, Segment Anything and CLIP.
        budget: Candidates in all; more continue a search that ended.
        num_groups: Groups of the prompt set to use, half of them for validation. Empty: all.
        settings: All settings, for experts; what is given above wins over them. Empty: all
            defaults.

    Raises:
        CoupledError: prompts, model or settings are not usable.
    """
    settings = settings or _DEFAULTS
    given = {
        "run": layer_settings(profile, settings.run, {"prompts.uri": prompts}),
        "output": settings.output if output == _DEFAULTS.output else output,
        "budget": settings.budget if budget == _DEFAULTS.budget else budget,
        "num_groups": num_groups or settings.num_groups,
    }
    settings = OptimizeSettings.model_validate({**dict(settings), **given})
    if settings.workers == 1:
        return _search(settings, None)
    with ProcessPoolTaskRunner(settings.workers, initializer=end_with_parent) as pool:
        return _search(settings, pool)


def _search(settings: OptimizeSettings, pool: ProcessPoolTaskRunner | None) -> OptimizeSummary:
    ready = prepare_search(settings)
    trials = _open_trials(settings, ready, pool)
    found = search_schedule(
        Search(trials.objectives, ready.folder, settings.run.generation.seed, trials.note),
        ready.fitted_on,
        family=settings.family,
        budget=settings.budget,
        num_knots=settings.num_knots,
        extension=extension_of(ready.fitted_on.mode),
    )
    found, finalists = hold_finals(
        found, settings.num_finalists, settings.num_final_noises, trials.run
    )
    report = judge_schedule(found.best, ready.against, settings.check_steps, trials.run)
    return _publish(settings, ready, found, finalists, report)


def _open_trials(
    settings: OptimizeSettings, ready: Preparation, pool: ProcessPoolTaskRunner | None
) -> TrialQueue:
    records = TrialRecords(open_store(ready.folder))
    num_samples = {"train": ready.num_train, "validation": ready.num_validation}
    return TrialQueue(settings, records, num_samples, pool)


def _publish(
    settings: OptimizeSettings,
    ready: Preparation,
    found: FoundSchedule,
    finalists: Sequence[Finalist],
    report: FitReport,
) -> OptimizeSummary:
    schedule, output = finish_schedule(found, finalists, report, settings), Path(settings.output)
    picture = write_schedule(schedule, found, ready.against, output)
    return OptimizeSummary(
        schedule=str(output),
        schedule_id=schedule.id,
        family=schedule.family,
        parameters=schedule.parameters,
        num_evaluations=sum(len(stage.history) for stage in found.stages),
        picture=str(picture),
        state=str(ready.folder),
        finalists=tuple(finalists),
        report=report,
    )
