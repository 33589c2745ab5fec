"""What one dataset must not mix: scores that do not compare.

One threshold cuts through all rows of a dataset, so all its scores must mean the same: they must
come from the same metric definitions, the same CLIP and the same Segment Anything. Everything else
may differ between runs, because every row states it and no row is read against another one's: the
base model and its licence, the schedule, the steps, the image format, and the image size, which a
prompt set may choose group by group (both images of a pair have one size in any case). Thresholds
may differ, too: each run is held to its own, and a re-cut puts one over all.
"""

from collections.abc import Mapping
from typing import Any

from coupled_core.dataset.snapshot import Snapshot
from coupled_core.errors import DatasetError


def what_scores_depend_on(
    config: Mapping[str, Any], metric_version: str | None
) -> dict[str, str | None]:
    """Return what decides what a run's scores mean, by setting; None: not written down."""
    scoring = config.get("scoring", {})
    return {
        "scoring.clip_model": scoring.get("clip_model"),
        "scoring.sam_model": scoring.get("sam_model"),
        "metric_version": metric_version,
    }


def check_comparable(snapshot: Snapshot, facts: Mapping[str, str | None], where: str) -> None:
    """Refuse to add rows whose scores do not compare with those that a dataset holds.

    Args:
        snapshot: What the dataset holds.
        facts: Of the run that wants to add rows, as `what_scores_depend_on` returns them.
        where: Names the dataset.

    Raises:
        DatasetError: naming every setting that differs, and both values.
    """
    for run in snapshot.runs:
        held = what_scores_depend_on(run.config, run.metric_version)
        differing = [
            f"{key} is {facts[key]!r} here and {held[key]!r} there"
            for key in held
            if facts[key] is not None and held[key] is not None and facts[key] != held[key]
        ]
        if differing:
            raise DatasetError(
                f"{where} holds scores of run {run.run_id} that do not compare with this run's: "
                f"{'; '.join(differing)}. Use these settings there, or write to another --output"
            )
