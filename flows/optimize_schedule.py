"""Prompts to a fitted schedule: search, judge on other prompts, write."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prefect import flow

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
    report: FitReport

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as they stand in JSON."""
        return {**asdict(self), "report": self.report.to_dict()}


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
    report = judge_schedule(found.best, ready.against, settings.check_steps, trials.run)
    return _publish(settings, ready, found, report)


def _open_trials(settings: OptimizeSettings, ready: Preparation) -> TrialRunner:
    records = TrialRecords(open_store(ready.folder))
    return TrialRunner(settings, records, ready.num_train, ready.num_validation)


def _publish(
    settings: OptimizeSettings, ready: Preparation, found: FoundSchedule, report: FitReport
) -> OptimizeSummary:
    schedule, output = finish_schedule(found, report, settings), Path(settings.output)
    picture = publish_schedule(schedule, found, ready.against, output)
    return OptimizeSummary(
        schedule=str(output),
        schedule_id=schedule.id,
        family=schedule.family,
        parameters=schedule.parameters,
        num_evaluations=sum(len(stage.history) for stage in found.stages),
        picture=str(picture),
        state=str(ready.folder),
        report=report,
    )
