"""Scored pairs by what varies in them, or by their background: which of them are lost, and why."""

from dataclasses import dataclass

import numpy as np

from coupled_core.report.measurements import Labels, Measurements

MAX_SHOWN = 12


@dataclass(frozen=True)
class Share:
    """The scored pairs that have one label."""

    label: str
    num_scored: int
    num_kept: int
    median_combined: float | None
    """None: not finite."""
    main_reason: str | None
    """The most frequent reason for drops; None: nothing was dropped."""


@dataclass(frozen=True)
class Breakdown:
    """Scored pairs by a column's values, those with the most dropped pairs first."""

    shares: tuple[Share, ...]
    """At most `MAX_SHOWN`."""
    num_labels: int
    """Different values, shown or not."""


def break_down(pairs: Measurements, labels: Labels) -> Breakdown:
    """Count scored and kept pairs by label."""
    has_label = pairs.is_scored & (labels.index >= 0)
    scored = np.bincount(labels.index[has_label], minlength=len(labels.names))
    kept = np.bincount(labels.index[has_label & pairs.is_kept], minlength=len(labels.names))
    order = sorted(
        np.flatnonzero(scored),
        key=lambda each: (kept[each] - scored[each], -scored[each], labels.names[each]),
    )
    return Breakdown(
        tuple(
            Share(
                labels.names[each],
                int(scored[each]),
                int(kept[each]),
                *_describe(pairs, has_label & (labels.index == each)),
            )
            for each in order[:MAX_SHOWN]
        ),
        len(order),
    )


def _describe(pairs: Measurements, inside: np.ndarray) -> tuple[float | None, str | None]:
    """Return the median combined score of some rows and their most frequent reject reason."""
    median = float(np.median(pairs.of("combined")[inside]))
    counts = {name: int((flags & inside).sum()) for name, flags in sorted(pairs.reasons.items())}
    reason = max(counts, key=counts.__getitem__, default=None)
    return (
        median if np.isfinite(median) else None,
        reason if reason is not None and counts[reason] else None,
    )
