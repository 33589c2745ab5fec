"""The tasks of a comparison: sweep the knobs of a method, evaluate a chunk, write the results."""

from prefect import get_run_logger

from coupled_core.progress import current_progress
from coupled_core.research.comparison.chunks import Chunk
from coupled_core.research.comparison.run import ComparisonRun
from coupled_core.research.comparison.settings import CompareSettings
from coupled_core.research.comparison.tuning import Tuned
from coupled_core.runs.models import Latest
from tasks.policy import stage_task

run_for = Latest(ComparisonRun)
"""Returns the comparison in this process, loaded once; the last one is kept."""


@stage_task("sweep-knobs")
def sweep_knobs(settings: CompareSettings, method: str) -> Tuned:
    """Find the knobs of one method on the training prompts."""
    tuned = run_for(settings).tune(method, current_progress())
    get_run_logger().info("%s: %s, J %s", method, dict(tuned.knobs), tuned.objective)
    return tuned


@stage_task("evaluate-chunk")
def evaluate_chunk(settings: CompareSettings, chunk: Chunk) -> None:
    """Evaluate some samples with one method and keep the result."""
    run_for(settings).evaluate(chunk, current_progress())
    cell = chunk.cell
    get_run_logger().info(
        "%s, %s %s: %d pairs", cell.part, cell.method, cell.variant, chunk.num_pairs
    )


@stage_task("write-comparison")
def write_results(settings: CompareSettings, tuned: list[Tuned]) -> dict[str, str]:
    """Write results, tables and pictures; return the files by kind."""
    return run_for(settings).write_results(tuned)
