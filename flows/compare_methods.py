"""Methods against each other: knobs on training prompts, then every method on held-out ones."""

from collections import Counter
from collections.abc import Sequence

from coupled_core.progress import current_progress
from coupled_core.research.comparison.chunks import Chunk
from coupled_core.research.comparison.settings import CompareSettings
from coupled_core.research.comparison.tuning import STAGE, Tuned
from coupled_core.runs.profiles import Profile, layer_settings
from flows.policy import observed_flow
from tasks.compare import evaluate_chunk, run_for, sweep_knobs, write_results

_DEFAULTS = CompareSettings()
_TEST_SET = _DEFAULTS.run.prompts.uri


@observed_flow("compare-methods", "compare", "output")
def compare_methods(
    prompts: str | list[str] = _TEST_SET,  # type: ignore[assignment]  # one by default
    output: str = _DEFAULTS.output,
    profile: Profile = "miniature",
    methods: list[str] | None = None,
    num_groups: int | None = _DEFAULTS.num_groups,
    settings: CompareSettings | None = None,
) -> dict[str, str]:
    """Compare, and return the files that were written, by kind.

    Finished sweeps and chunks of earlier runs into the same folder are kept and passed over, as
    long as nothing that decides them has changed.

    Args:
        prompts: Held-out prompt set: a Parquet file, a folder, an s3:// location, or several.
        output: Folder of results, pictures and finished work, on the worker's disk.
        profile: Models that go together: generator, Segment Anything and CLIP.
        methods: Methods to compare. Empty: all.
        num_groups: Groups of the prompt set to compare on, from the first. Empty: all.
        settings: All settings, for experts; what is given above wins over them. Empty: all
            defaults.

    Raises:
        CoupledError: nothing could be done, and why.
    """
    settings = settings or _DEFAULTS
    held_out = settings.run.prompts.uri if prompts == _TEST_SET else prompts
    given = {
        "run": layer_settings(profile, settings.run, {"prompts.uri": held_out}),
        "output": settings.output if output == _DEFAULTS.output else output,
        "methods": tuple(methods or settings.methods),
        "num_groups": num_groups or settings.num_groups,
    }
    return _compare(CompareSettings.model_validate({**dict(settings), **given}))


def _compare(settings: CompareSettings) -> dict[str, str]:
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
    # All totals before the first chunk, or the time left would be computed for the first part
    # alone.
    for part, total in totals.items():
        progress.begin(part, total)
    for chunk in open_chunks:
        evaluate_chunk(settings, chunk)
