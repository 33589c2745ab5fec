"""What a comparison consists of: cells (a method with its knobs) cut into chunks of samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from coupled_core.records import Sample
from coupled_core.research.comparison.results import Part
from coupled_core.research.comparison.settings import OURS, CompareSettings
from coupled_core.research.comparison.tuning import Tuned
from coupled_core.research.comparison.variants import Variant
from coupled_core.research.methods.method import Knob, Knobs


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
