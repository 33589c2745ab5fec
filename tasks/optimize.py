"""The evaluate task: one schedule on some groups of prompts."""

from prefect import get_run_logger

from coupled_core.progress import current_progress
from coupled_core.research.evaluation.pairs import EvaluatedPair, mean_objective
from coupled_core.research.optimization.settings import OptimizeSettings
from coupled_core.research.optimization.trial import Trial, load_trial_runner
from coupled_core.runs.models import Latest
from tasks.policy import stage_task

runner_for = Latest(load_trial_runner)
"""Returns the models and samples of this process, loaded once."""
GROUPS = "groups"
"""The name under which progress is counted."""


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
