"""The evaluate task: one schedule on one side of the prompts."""

from prefect import get_run_logger

from coupled_core.evaluation.pairs import EvaluatedPair, mean_objective
from coupled_core.optimization.settings import OptimizeSettings
from coupled_core.optimization.trial import Trial
from coupled_core.progress import current_progress
from tasks.bench import bench_for
from tasks.policy import stage_task


@stage_task("evaluate-candidate")
def evaluate_candidate(settings: OptimizeSettings, trial: Trial) -> list[EvaluatedPair]:
    """Run a trial on this process's models."""
    progress, batch_size = current_progress(), settings.run.generation.batch_size
    pairs = bench_for(settings).run(
        trial,
        lambda done, _: progress.advance("samples", (done - 1) % batch_size + 1),
    )
    get_run_logger().info("trial %s on %s: J %.4f", trial.key, trial.side, mean_objective(pairs))
    return pairs
