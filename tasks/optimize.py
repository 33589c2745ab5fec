"""The evaluate task: one schedule on some groups of prompts."""

import threading
from functools import lru_cache

from prefect import get_run_logger

from coupled_core.progress import current_progress
from coupled_core.research.evaluation.pairs import EvaluatedPair, mean_objective
from coupled_core.research.optimization.settings import OptimizeSettings
from coupled_core.research.optimization.trial import (
    Trial,
    TrialRunner,
    load_trial_runner,
)
from tasks.policy import stage_task

GROUPS = "groups"
"""The name under which progress is counted."""
_loading = threading.Lock()


def runner_for(settings: OptimizeSettings) -> TrialRunner:
    """Return the models and samples of this process, loaded once."""
    with _loading:
        return _runner(settings.model_dump_json())


@lru_cache(maxsize=1)
def _runner(settings: str) -> TrialRunner:
    """Take settings as JSON: some of them are mappings, which have no hash."""
    return load_trial_runner(OptimizeSettings.model_validate_json(settings))


@stage_task("evaluate-candidate")
def evaluate_candidate(settings: OptimizeSettings, trial: Trial) -> list[EvaluatedPair]:
    """Run a trial on this process's models."""
    progress = current_progress()
    where = f"{trial.side}, groups {trial.start + 1} to {trial.stop}"

    def tell(done: int, of: int) -> None:
        progress.within(GROUPS, (trial.stop - trial.start) * done / of, where)

    pairs = runner_for(settings).run(trial, tell)
    get_run_logger().info("trial %s, %s: J %.4f", trial.key, where, mean_objective(pairs))
    return pairs
