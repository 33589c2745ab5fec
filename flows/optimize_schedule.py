"""Prompts to a fitted schedule: search, judge on other prompts, write."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from prefect import flow

from coupled_core.optimization.finals import Finalist, hold_finals
from coupled_core.optimization.fit_report import FitReport, judge_schedule
from coupled_core.optimization.preparation import Preparation, prepare_search
from coupled_core.optimization.publish import finish_schedule, publish_schedule
from coupled_core.optimization.schedule_search import FoundSchedule, Search, search_schedule
from coupled_core.optimization.schedule_space import extension_of
from coupled_core.optimization.settings import OptimizeSettings
from coupled_core.optimization.trial import TrialRecords
from coupled_core.storage.store import open_store
from flows.trial_runner import TrialRunner

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


@flow(name="optimize-schedule", persist_result=False)
def optimize_schedule(settings: OptimizeSettings = _DEFAULTS) -> OptimizeSummary:
    """Fit a schedule to prompts; the same call continues a search that was killed.

    Args:
        settings: All settings. Candidates run one after another in this process unless it asks for
            workers; then they are submitted to the flow's task runner.

    Raises:
        CoupledError: prompts, model or settings are not usable.
    """
    ready = prepare_search(settings)
    trials = _open_trials(settings, ready)
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


def _open_trials(settings: OptimizeSettings, ready: Preparation) -> TrialRunner:
    records = TrialRecords(open_store(ready.folder))
    return TrialRunner(settings, records, ready.num_train, ready.num_validation)


def _publish(
    settings: OptimizeSettings,
    ready: Preparation,
    found: FoundSchedule,
    finalists: Sequence[Finalist],
    report: FitReport,
) -> OptimizeSummary:
    schedule, output = finish_schedule(found, finalists, report, settings), Path(settings.output)
    picture = publish_schedule(schedule, found, ready.against, output)
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
