"""Evaluates chunks of a comparison, each kept as soon as it is finished and never done twice."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from coupled_core.comparison.cells import Cell, Chunk
from coupled_core.comparison.conditions import Conditions, name_work
from coupled_core.comparison.results import SCHEMA, read_results, to_bytes
from coupled_core.comparison.rows import build_rows, key_of
from coupled_core.comparison.settings import OURS, CompareSettings
from coupled_core.comparison.variants import Variant, build_along, build_variant
from coupled_core.evaluation.pairs import Evaluator
from coupled_core.methods.method import Method
from coupled_core.progress import Progress
from coupled_core.records import EntityMask, Sample
from coupled_core.schedules.schedule import Schedule
from coupled_core.storage.local import LocalStore

_WORK = "work"


class ChunkStore:
    """Finished chunks in the folder of a comparison, by everything that decides them."""

    def __init__(self, settings: CompareSettings, conditions: Conditions) -> None:
        self._store, self._conditions = LocalStore(settings.folder), conditions
        self._folder = settings.folder

    def has(self, chunk: Chunk) -> bool:
        """Say whether a chunk is finished."""
        return self._store.exists(self._key(chunk))

    def write(self, chunk: Chunk, rows: pa.Table) -> None:
        """Keep a finished chunk, as a whole."""
        self._store.write(self._key(chunk), to_bytes(rows))

    def read(self, chunks: Sequence[Chunk]) -> pa.Table:
        """Return the rows of finished chunks, in their order."""
        tables = [read_results(self._folder / self._key(chunk)) for chunk in chunks]
        return pa.concat_tables(tables) if tables else SCHEMA.empty_table()

    def _key(self, chunk: Chunk) -> str:
        cell = chunk.cell
        name = name_work(
            self._conditions,
            cell.method,
            cell.knobs,
            list(chunk.samples),
            part=cell.part,
            variant=cell.variant,
            facts=dict(cell.facts),
            num_shown=chunk.num_shown,
        )
        return f"{_WORK}/{name}.parquet"


def find_method(
    cell: Cell, methods: Mapping[str, Method], schedule: Schedule, variants: Sequence[Variant]
) -> Method:
    """Return what makes a cell's images.

    Args:
        cell: one of a plan.
        methods: by name, loaded.
        schedule: that of ours.
        variants: the ablations.
    """
    method = methods[cell.method]
    if cell.part == "ablation" and cell.variant:
        wanted = next(variant for variant in variants if variant.name == cell.variant)
        return build_variant(method, wanted)
    if cell.part == "trade-off" and cell.method == OURS and method.main_knob is None:
        return build_along(method, schedule)
    return method


def evaluate_chunk(
    chunk: Chunk, method: Method, evaluator: Evaluator, store: ChunkStore, progress: Progress
) -> None:
    """Evaluate one chunk and keep its rows.

    Args:
        chunk: what to evaluate.
        method: what makes its images.
        evaluator: scores them.
        store: where the rows go.
        progress: told the samples of each batch under the part's name.
    """
    cell, shown = chunk.cell, {key_of(sample) for sample in chunk.samples[: chunk.num_shown]}
    images: dict[str, list[np.ndarray]] = {}

    def keep(sample: Sample, made: Sequence[np.ndarray], _: Sequence[EntityMask]) -> None:
        if key_of(sample) in shown:
            images[key_of(sample)] = list(made)

    pairs = evaluator.evaluate(
        method,
        cell.knobs,
        chunk.samples,
        on_progress=_count_into(progress, cell.part),
        on_images=keep,
    )
    store.write(
        chunk, build_rows(cell.part, cell.variant, cell.knobs, chunk.samples, pairs, images)
    )


def _count_into(progress: Progress, stage: str) -> Callable[[int, int], None]:
    """Return what hands on the samples done since it was last called."""
    seen = 0

    def advance(done: int, _: int) -> None:
        nonlocal seen
        progress.advance(stage, done - seen)
        seen = done

    return advance
