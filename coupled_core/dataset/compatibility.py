"""What one dataset must not mix: scores that do not compare, and rules of splitting.

Train, val and test must be told apart by one rule, or one background could be in two of them. One
threshold cuts through all rows of a dataset, so all its scores must mean the same: they must
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

_FIRST_SPLIT_RULE = "1"
"""Of runs that did not write it down."""


def what_must_agree(
    config: Mapping[str, Any], metric_version: str | None, split_rule: str | None
) -> dict[str, str | None]:
    """Return what all runs of a dataset must have in common; None: not written down."""
    scoring = config.get("scoring", {})
    return {
        "scoring.clip_model": scoring.get("clip_model"),
        "scoring.sam_model": scoring.get("sam_model"),
        "metric_version": metric_version,
        "split_rule": split_rule or _FIRST_SPLIT_RULE,
    }


def check_comparable(snapshot: Snapshot, facts: Mapping[str, str | None], where: str) -> None:
    """Refuse to add rows that do not go together with those that a dataset holds.

    Args:
        snapshot: What the dataset holds.
        facts: Of the run that wants to add rows, as `what_must_agree` returns them.
        where: Names the dataset.

    Raises:
        DatasetError: naming every setting that differs, and both values.
    """
    for run in snapshot.runs:
        held = what_must_agree(run.config, run.metric_version, run.split_rule)
        differing = [
            f"{key} is {facts[key]!r} here and {held[key]!r} there"
            for key in held
            if facts[key] is not None and held[key] is not None and facts[key] != held[key]
        ]
        if differing:
            raise DatasetError(
                f"{where} holds rows of run {run.run_id} that do not go together with this run's: "
                f"{'; '.join(differing)}. Use these settings there, write to another --output, or "
                "(where only split_rule differs) run `coupled resplit` on the dataset"
            )
