"""Which pairs a page shows: the best, those at the threshold, the worst, and a random sample."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coupled_core.dataset.reader import iter_manifest
from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.records import RejectReason
from coupled_core.report.measurements import Flags, Measurements
from coupled_core.storage.store import ObjectStore

BEST, BORDERLINE, WORST, RANDOM, GROUPS = "best", "borderline", "worst", "random", "groups"


@dataclass(frozen=True)
class ChosenPair:
    """A pair that is shown."""

    row: Row
    """Its manifest row, all columns."""
    kinds: tuple[str, ...]
    """Why it is shown: best, borderline, worst, random, groups (its group has three images or
    more)."""


def choose_pairs(
    pairs: Measurements, is_showable: Flags, min_combined: float | None, num_pairs: int
) -> dict[int, tuple[str, ...]]:
    """Return the rows to show and why; as many of each kind, then more random ones.

    Args:
        pairs: All rows of a snapshot.
        is_showable: Rows whose images are to be had; others only fill up.
        min_combined: What borderline pairs are near to; None: the least combined score of a kept
            pair.
    """
    rows = np.flatnonzero(is_showable & pairs.is_scored)
    combined = pairs.of("combined")[rows]
    kept = pairs.is_kept[rows]
    bound = min_combined
    if bound is None:
        bound = float(combined[kept].min()) if kept.any() else 0.0
    # A fixed seed: the same snapshot shows the same pairs.
    random = np.random.default_rng(0)
    shuffled = random.permutation(len(rows))
    orders: dict[str, NDArray[np.intp]] = {
        # lexsort sorts by its last key first: kept pairs, then by score.
        BEST: np.lexsort((-combined, ~kept)),
        BORDERLINE: np.argsort(np.abs(combined - bound), kind="stable"),
        WORST: np.lexsort((combined, kept)),
        RANDOM: shuffled,
    }
    if len(grouped := _find_large_groups(pairs, rows)):
        orders[GROUPS] = grouped
    share = -(-num_pairs // len(orders))
    chosen: dict[int, list[str]] = {}
    for kind, order in orders.items():
        for place in order[:share]:
            chosen.setdefault(int(rows[place]), []).append(kind)
    others = random.permutation(np.flatnonzero(~is_showable & pairs.is_scored))
    for row in np.concatenate([rows[shuffled], others])[:num_pairs]:
        chosen.setdefault(int(row), [RANDOM])
    return {row: tuple(kinds) for row, kinds in sorted(list(chosen.items())[:num_pairs])}


def _find_large_groups(pairs: Measurements, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return places in `rows` of pairs whose group has three images or more, group by group."""
    groups = pairs.group_index[rows]
    large = np.unique(groups[(pairs.last_image[rows] > 1) & (groups >= 0)])
    places = np.flatnonzero(np.isin(groups, large))
    ranks = np.random.default_rng(1).permutation(len(large))
    return places[np.argsort(ranks[np.searchsorted(large, groups[places])], kind="stable")]


def read_chosen(
    store: ObjectStore, snapshot: Snapshot, chosen: Mapping[int, tuple[str, ...]]
) -> list[ChosenPair]:
    """Read the manifest rows of chosen pairs; parts that hold none of them are not read."""
    found: list[ChosenPair] = []
    first = 0
    for part in snapshot.parts_of("manifest"):
        inside = [row for row in chosen if first <= row < first + part.num_rows]
        if inside:
            rows = _rows_at(store, [part], [row - first for row in inside])
            found += [
                ChosenPair(values, chosen[row]) for row, values in zip(inside, rows, strict=True)
            ]
        first += part.num_rows
    return found


def _rows_at(
    store: ObjectStore, parts: Sequence[Any], places: Sequence[int]
) -> Iterator[dict[str, Any]]:
    first = 0
    for batch in iter_manifest(store, parts):
        inside = [place - first for place in places if first <= place < first + batch.num_rows]
        if inside:
            yield from batch.take(inside).to_pylist()
        first += batch.num_rows


def find_showable(
    pairs: Measurements, snapshot: Snapshot, has_work: Callable[[str, int], bool]
) -> Flags:
    """Say which rows have images: in an image part, or still in the work of their shard.

    Args:
        pairs: All rows of a snapshot.
        has_work: Says whether a shard (run_id, shard_index) has work left.
    """
    in_work, first = np.zeros(len(pairs), np.bool_), 0
    for part in snapshot.parts_of("manifest"):
        inside = slice(first, first + part.num_rows)
        shards = pairs.shard_indices[inside]  # one, or those that were compacted into the part
        with_work = [each for each in np.unique(shards).tolist() if has_work(part.run_id, each)]
        in_work[inside] = np.isin(shards, with_work)
        first += part.num_rows
    unsafe = pairs.has_reason(RejectReason.UNSAFE)
    showable: Flags = pairs.has_stored_images | (in_work & pairs.is_scored & ~unsafe)
    return showable
