"""The page on which a person keeps or drops pairs; it saves a file of decisions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coupled_core.dataset.snapshot import Snapshot
from coupled_core.dataset.upkeep.review import FORMAT
from coupled_core.report.gallery import make_gallery
from coupled_core.report.measurements import Measurements, read_measurements
from coupled_core.report.page import render_page
from coupled_core.report.pair_images import ShardWorks, iter_pair_images
from coupled_core.report.selection import BORDERLINE, read_chosen
from coupled_core.report.survival import bounds_in_force
from coupled_core.storage.store import ObjectStore

DEFAULT_PAIRS = 500
_BYTES_PER_PAIR = 40_000
"""A person looks closely: larger pictures than in a report."""


@dataclass(frozen=True)
class ReviewPage:
    """A finished page."""

    page: str
    """HTML."""
    num_shown: int
    num_waiting: int
    """Pairs that nobody has reviewed yet and whose images are stored; some may be shown."""


def make_review_page(
    store: ObjectStore, snapshot: Snapshot, num_pairs: int = DEFAULT_PAIRS
) -> ReviewPage:
    """Make the page of a snapshot: unreviewed pairs with stored images, the doubtful ones first.

    Raises:
        DatasetError: a part is missing or damaged.
    """
    pairs = read_measurements(store, snapshot)
    bounds = bounds_in_force(snapshot.runs)["min_combined"]
    order = _order(pairs, bounds[-1] if bounds else None)
    shown = [int(row) for row in order[:num_pairs]]
    place = {row: index for index, row in enumerate(shown)}
    # Rows are read in their order in the manifest, and shown in that of their doubt.
    chosen = {row: (BORDERLINE,) for row in sorted(shown)}
    found = dict(zip(chosen, read_chosen(store, snapshot, chosen), strict=True))
    rows = [found[row] for row in sorted(found, key=place.__getitem__)]
    images = iter_pair_images(store, [pair.row for pair in rows], ShardWorks(store))
    page = render_page(
        "review.html",
        ("base.css", "review.css"),
        ("theme.js", "pairs.js", "review.js"),
        {
            "gallery": make_gallery(rows, images, _BYTES_PER_PAIR * max(1, len(rows))),
            "name": store.uri.rstrip("/").rpartition("/")[2] or store.uri,
            "review": {
                "format": FORMAT,
                "dataset": store.uri,
                "snapshot_id": snapshot.snapshot_id,
            },
        },
    )
    return ReviewPage(page, len(rows), len(order))


def _order(pairs: Measurements, min_combined: float | None) -> NDArray[np.intp]:
    """Return the rows to review, those whose combined score is nearest to the threshold first."""
    waiting = np.flatnonzero(pairs.is_scored & pairs.has_stored_images & ~pairs.is_reviewed)
    combined = pairs.of("combined")[waiting]
    centre = float(np.median(combined)) if min_combined is None and len(combined) else min_combined
    distance = np.abs(np.nan_to_num(combined, neginf=-1e9) - (centre or 0.0))
    return waiting[np.argsort(distance, kind="stable")]
