"""Methods against each other: knobs on training prompts, then every method on held-out ones."""

from collections import Counter
from collections.abc import Sequence

from prefect import flow

from coupled_core.progress import current_progress
from coupled_core.research.comparison.chunks import Chunk
from coupled_core.research.comparison.settings import CompareSettings
from coupled_core.research.comparison.tuning import STAGE, Tuned
from tasks.compare import evaluate_chunk, run_for, sweep_knobs, write_results


@flow(name="compare-methods", persist_result=False)
def compare_methods(settings: CompareSettings) -> dict[str, str]:
    """Compare, and return the files that were written, by kind.

    Finished sweeps and chunks of earlier runs into the same folder are kept and passed over, as
    long as nothing that decides them has changed.

    Raises:
        CoupledError: nothing could be done, and why.
    """
    tuned = tune_all(settings)
    evaluate_all(settings, run_for(settings).list_chunks(tuned))
    return write_results(settings, tuned)


def tune_all(settings: CompareSettings) -> list[Tuned]:
    """Return the knobs of every method, searched where no earlier run has found them."""
    run = run_for(settings)
    found = {name: run.tuning.read(name) for name in settings.methods}
    num_open = sum(tuned is None for tuned in found.values())
    num_samples = settings.sweep_budget * len(run.train_samples)
    current_progress().begin(STAGE, num_open * num_samples)
    return [tuned or sweep_knobs(settings, name) for name, tuned in found.items()]


def evaluate_all(settings: CompareSettings, chunks: Sequence[Chunk]) -> None:
    """Evaluate the chunks that no earlier run has finished."""
    store, progress = run_for(settings).chunks, current_progress()
    open_chunks = [chunk for chunk in chunks if not store.has(chunk)]
    totals: Counter[str] = Counter()
    for chunk in open_chunks:
        totals[chunk.cell.part] += len(chunk.samples)
    for part, total in totals.items():
        progress.begin(part, total)
    for chunk in open_chunks:
        evaluate_chunk(settings, chunk)
