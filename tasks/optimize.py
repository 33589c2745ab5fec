"""The evaluate task: one schedule on one side of the prompts."""

from prefect import get_run_logger

from coupled_core.progress import current_progress
from coupled_core.research.evaluation.pairs import EvaluatedPair, mean_objective
from coupled_core.research.optimization.settings import OptimizeSettings
from coupled_core.research.optimization.trial import Trial, load_trial_runner
from coupled_core.runs.models import Latest
from tasks.policy import stage_task

runner_for = Latest(load_trial_runner)
"""Returns the models and samples of this process, loaded once."""


@stage_task("evaluate-candidate")
def evaluate_candidate(settings: OptimizeSettings, trial: Trial) -> list[EvaluatedPair]:
    """Run a trial on this process's models."""
    progress, batch_size = current_progress(), settings.run.generation.batch_size
    pairs = runner_for(settings).run(
        trial,
        lambda done, _: progress.advance("samples", (done - 1) % batch_size + 1),
    )
    get_run_logger().info("trial %s on %s: J %.4f", trial.key, trial.side, mean_objective(pairs))
    return pairs
