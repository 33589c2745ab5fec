"""What differs between two snapshots: pairs, decisions, settings."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from coupled_core.dataset.parts import PartInfo
from coupled_core.dataset.reader import iter_manifest
from coupled_core.dataset.snapshot import RunInfo, Snapshot
from coupled_core.storage.store import ObjectStore

_COLUMNS = ("pair_id", "kept", "reject_reasons", "status", "review_status")
Change = tuple[str, "Verdict | None", "Verdict | None"]
"""Id of a pair, what was decided before, and after; None: the pair is not there."""


class Verdict(NamedTuple):
    """What a snapshot says about a pair."""

    kept: bool
    reasons: tuple[str, ...]
    status: str
    review: str | None


@dataclass(frozen=True)
class SnapshotDiff:
    """How to come from one snapshot to another."""

    before: str
    after: str
    num_added: int
    """Rows that only the second has."""
    num_removed: int
    """Rows that only the first has."""
    num_now_kept: int
    """Pairs of both that only the second keeps."""
    num_now_dropped: int
    """Pairs of both that only the first keeps."""
    num_other_reasons: int
    """Pairs that neither or both keep, for other reasons or with another review."""
    examples: tuple[Change, ...]
    """The first of them, in the order of their ids."""
    settings: Mapping[str, tuple[list[Any], list[Any]]]
    """Values of each setting over the runs of either, where they differ; `filter.*` as of the last
    re-cut."""

    @property
    def num_changes(self) -> int:
        """Rows that differ in any way."""
        decided = self.num_now_kept + self.num_now_dropped + self.num_other_reasons
        return self.num_added + self.num_removed + decided


def diff_snapshots(
    store: ObjectStore, before: Snapshot, after: Snapshot, *, max_examples: int = 20
) -> SnapshotDiff:
    """Compare two snapshots; parts that both name are not read, as parts never change."""
    shared = {part.key for part in before.parts} & {part.key for part in after.parts}
    old = _verdicts(store, (part for part in before.parts if part.key not in shared))
    new = _verdicts(store, (part for part in after.parts if part.key not in shared))
    changes = list(_changes(old, new))
    common = [(a, b) for _, a, b in changes if a is not None and b is not None]
    return SnapshotDiff(
        before=before.snapshot_id,
        after=after.snapshot_id,
        num_added=sum(a is None for _, a, _ in changes),
        num_removed=sum(b is None for _, _, b in changes),
        num_now_kept=sum(b.kept and not a.kept for a, b in common),
        num_now_dropped=sum(a.kept and not b.kept for a, b in common),
        num_other_reasons=sum(a.kept == b.kept for a, b in common),
        examples=tuple(changes[:max_examples]),
        settings=_differing_settings(before.runs, after.runs),
    )


def _verdicts(store: ObjectStore, parts: Iterable[PartInfo]) -> dict[str, Verdict]:
    known: dict[Verdict, Verdict] = {}  # a handful of objects serve all rows
    found: dict[str, Verdict] = {}
    for batch in iter_manifest(store, parts, _COLUMNS):
        for pair_id, kept, reasons, status, review in zip(
            *(column.to_pylist() for column in batch.columns), strict=True
        ):
            verdict = Verdict(kept, tuple(reasons), status, review)
            found[pair_id] = known.setdefault(verdict, verdict)
    return found


def _changes(old: Mapping[str, Verdict], new: Mapping[str, Verdict]) -> Iterator[Change]:
    for pair_id in sorted(old.keys() | new.keys()):
        before, after = old.get(pair_id), new.get(pair_id)
        if before != after:
            yield pair_id, before, after


def _differing_settings(
    before: Iterable[RunInfo], after: Iterable[RunInfo]
) -> dict[str, tuple[list[Any], list[Any]]]:
    old, new = _settings(before), _settings(after)
    return {
        key: (old.get(key, []), new.get(key, []))
        for key in sorted(old.keys() | new.keys())
        if old.get(key, []) != new.get(key, [])
    }


def _settings(runs: Iterable[RunInfo]) -> dict[str, list[Any]]:
    """Return every value that a setting has in the runs, by dotted name, without repeats."""
    found: dict[str, list[Any]] = defaultdict(list)
    for run in runs:
        config = {**run.config, "filter": run.thresholds, "metric_version": run.metric_version}
        for key, value in _flatten(config):
            if value not in found[key]:
                found[key].append(value)
    return {key: sorted(values, key=repr) for key, values in found.items()}


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, dict):
        yield prefix, value
        return
    for key, inner in value.items():
        yield from _flatten(inner, f"{prefix}.{key}" if prefix else key)
