"""What a comparison found, one record a method or variant: means with intervals, and shares."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from coupled_core.filters import EMPTY_MASK
from coupled_core.research.evaluation.intervals import (
    Interval,
    bootstrap_difference,
    bootstrap_mean,
)
from coupled_core.research.evaluation.rings import RingFeatures, tell_apart

Row = Mapping[str, Any]
"""One row of the results, without images."""
MethodVariant = tuple[str, str]
STOCK: MethodVariant = ("random-seed", "")
"""Whose images the surroundings of entities are held against."""


@dataclass(frozen=True)
class Summary:
    """How one method, or one variant of it, did."""

    method: str
    variant: str
    knobs: Mapping[str, float]
    num_pairs: int
    background_similarity: Interval | None
    """S over the pairs where it is finite; None: there are none."""
    background_similarity_clear: Interval | None
    """The same clear of the masks."""
    equal: Interval | None
    """Share of the frame in which a pair has the very same pixels."""
    rim_seam: Interval | None
    told_from_stock: Interval | None
    """How often a classifier tells the surroundings of entities from those in stock images of the
    same prompts and noise, 1/2 by chance; None: it is them, or there are none."""
    right: Interval | None
    """Share of the images that show their entity, by a judge apart from the scorers; None: there is
    none."""
    alignment: Interval | None
    """T over the pairs that have images."""
    combined: Interval
    """J; a pair without images, or without a finite J, counts the floor."""
    difference: Interval | None
    """J less that of the reference, paired by group; None: it is the reference."""
    guarded: Interval
    """J with guards: a pair counts the floor where one fired. What knobs were tuned for."""
    guarded_difference: Interval | None
    guard_share: float
    """Share of the pairs on which a guard fired, [0, 1]."""
    lost_share: float
    """Share of the pairs in which no entity was found in one of the images, [0, 1]."""
    seconds: float
    """Mean wall time of a pair, decoding included, scoring not."""
    model_evaluations: float
    """Mean rows through the transformer for a pair."""


def summarise(rows: Iterable[Row], reference: MethodVariant) -> list[Summary]:
    """Return a summary a cell: the reference first, the others by falling J.

    Args:
        rows: of one part of the results.
        reference: what differences are taken to; it needs the groups of every other cell. Of the
            rows of `STOCK`, where there are some, each cell's surroundings are told.
    """
    cells: defaultdict[MethodVariant, list[Row]] = defaultdict(list)
    for row in rows:
        cells[row["method"], row["variant"]].append(row)
    if reference not in cells:
        raise ValueError(f"expected rows of {reference}; there are those of {sorted(cells)}")
    found = [
        _summarise_cell(
            cell,
            own,
            reference=cells[reference] if cell != reference else None,
            stock=cells.get(STOCK, ()) if cell != STOCK else (),
        )
        for cell, own in cells.items()
    ]
    is_other = {True: 0, False: 1}
    return sorted(
        found,
        key=lambda s: (is_other[(s.method, s.variant) == reference], -s.combined.mean, s.variant),
    )


def combined_of(row: Row) -> float:
    """Return J of a pair; where there is none to speak of, what its guards make of it."""
    value = row["combined"]
    return float(value) if value is not None and isfinite(value) else float(row["objective"])


def by_group(rows: Iterable[Row], value: Callable[[Row], float | None]) -> dict[str, list[float]]:
    """Return the finite values of some rows, by group; groups without any are left out."""
    grouped: defaultdict[str, list[float]] = defaultdict(list)
    for row in rows:
        found = value(row)
        if found is not None and isfinite(found):
            grouped[row["group_id"]].append(found)
    return dict(grouped)


def mean_of(rows: Sequence[Row], name: str) -> Interval | None:
    """Return the mean of a score over the pairs that have it; None: no pair has."""
    values = by_group(rows, lambda row: row[name])
    return bootstrap_mean(values) if values else None


def _summarise_cell(
    cell: MethodVariant,
    rows: Sequence[Row],
    *,
    reference: Sequence[Row] | None,
    stock: Sequence[Row],
) -> Summary:
    guards = [set(row["guards"]) for row in rows]
    return Summary(
        method=cell[0],
        variant=cell[1],
        knobs=dict(rows[0]["knobs"]),
        num_pairs=len(rows),
        background_similarity=mean_of(rows, "background_similarity"),
        background_similarity_clear=mean_of(rows, "background_similarity_clear"),
        equal=mean_of(rows, "equal_fraction"),
        rim_seam=mean_of(rows, "rim_seam"),
        told_from_stock=tell_apart(_rings_by_group(rows), _rings_by_group(stock)),
        right=mean_of(rows, "right_fraction"),
        alignment=mean_of(rows, "alignment"),
        combined=bootstrap_mean(by_group(rows, combined_of)),
        difference=_difference(rows, reference, combined_of),
        guarded=bootstrap_mean(by_group(rows, _objective_of)),
        guarded_difference=_difference(rows, reference, _objective_of),
        guard_share=_share(bool(fired) for fired in guards),
        lost_share=_share(EMPTY_MASK.reason in fired for fired in guards),
        seconds=_mean(row["seconds"] for row in rows),
        model_evaluations=_mean(row["model_evaluations"] for row in rows),
    )


def _difference(
    rows: Sequence[Row], reference: Sequence[Row] | None, value: Callable[[Row], float]
) -> Interval | None:
    if reference is None:
        return None
    return bootstrap_difference(by_group(rows, value), by_group(reference, value))


def _rings_by_group(rows: Iterable[Row]) -> dict[str, list[RingFeatures]]:
    """Return the features of the images of each group that have some."""
    grouped: defaultdict[str, list[RingFeatures]] = defaultdict(list)
    for row in rows:
        both = row["rings_0"], row["rings_1"]
        grouped[row["group_id"]] += [tuple(one) for one in both if one is not None]
    return dict(grouped)


def _objective_of(row: Row) -> float:
    return float(row["objective"])


def _share(flags: Iterable[bool]) -> float:
    return _mean(float(flag) for flag in flags)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)
