"""What a comparison consists of: cells (a method with its knobs) cut into chunks of samples.

A chunk is evaluated as a whole and kept as soon as it is finished.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from coupled_core.progress import Progress
from coupled_core.records import EntityMask, Sample
from coupled_core.research.comparison.conditions import Conditions, name_work
from coupled_core.research.comparison.results import (
    SCHEMA,
    Part,
    build_rows,
    key_of,
    read_results,
    to_bytes,
)
from coupled_core.research.comparison.settings import OURS, CompareSettings
from coupled_core.research.comparison.tuning import Tuned
from coupled_core.research.comparison.variants import Variant
from coupled_core.research.evaluation.pairs import Evaluator
from coupled_core.research.methods.method import Knob, Knobs, Method
from coupled_core.storage.local import LocalStore


@dataclass(frozen=True)
class Cell:
    """One point that is evaluated: a method with all of its knobs."""

    part: Part
    method: str
    knobs: Knobs
    variant: str = ""
    """Tells the cells of one method apart within a part."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What else decides its images, JSON values."""


@dataclass(frozen=True)
class Chunk:
    """The samples of a cell that are evaluated, and kept, together."""

    cell: Cell
    samples: tuple[Sample, ...]
    num_shown: int
    """The first so many samples keep their images."""

    @property
    def num_pairs(self) -> int:
        """Pairs that it evaluates."""
        return sum(len(sample.pairs) for sample in self.samples)


def list_comparison(tuned: Sequence[Tuned]) -> list[Cell]:
    """Return the cells of the comparison, one a method."""
    return [Cell("comparison", one.method, one.knobs) for one in tuned]


def list_trade_off(tuned: Sequence[Tuned], num_points: int) -> list[Cell]:
    """Return the points of every method's curve, along its main knob.

    The other knobs stay where they were tuned. A method without a main knob is a single point.
    """
    cells = []
    for one in tuned:
        main = one.main_knob
        if main is None:
            cells.append(Cell("trade-off", one.method, one.knobs))
            continue
        for value in spread(main, num_points):
            variant = f"{main.name} = {value:.4g}"
            knobs = {**one.knobs, main.name: value}
            cells.append(Cell("trade-off", one.method, knobs, variant))
    return cells


def list_ablations(variants: Sequence[Variant], knobs: Knobs) -> list[Cell]:
    """Return ours as it is, then each variant of it.

    Args:
        variants: what is changed about ours.
        knobs: those of ours; a variant reads none.
    """
    changed = [
        Cell("ablation", OURS, {}, variant.name, facts=variant.describe()) for variant in variants
    ]
    return [Cell("ablation", OURS, knobs), *changed]


def cut(cell: Cell, samples: Sequence[Sample], settings: CompareSettings) -> list[Chunk]:
    """Cut the work of a cell into chunks."""
    size = settings.chunk_size
    shown = settings.num_picture_rows if cell.part == "comparison" else 0
    return [
        Chunk(cell, tuple(samples[at : at + size]), min(size, max(0, shown - at)))
        for at in range(0, len(samples), size)
    ]


def spread(knob: Knob, num_points: int) -> list[float]:
    """Return values from the low to the high end of a knob, each once, denser towards the low end.

    Most knobs count steps or time from the start, and what is shared is decided early.
    """
    shares = [(index / (num_points - 1)) ** 2 for index in range(num_points)]
    values = [knob.low + share * (knob.high - knob.low) for share in shares]
    return sorted({float(round(v)) if knob.integer else round(v, 10) for v in values})


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
        return f"work/{name}.parquet"


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
