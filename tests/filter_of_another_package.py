"""Say as JSON what becomes of a filter that another package registered; run in its own process."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coupled_core.config import FilterConfig
from coupled_core.dataset.reader import current_snapshot, iter_manifest
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.dataset.upkeep.damage import Flaw
from coupled_core.dataset.upkeep.recut import recut
from coupled_core.dataset.upkeep.verify import verify_snapshot
from coupled_core.filters import find_objections
from coupled_core.report.report import make_report
from coupled_core.storage.open_store import open_store
from coupled_core.storage.store import ObjectStore
from tests.sample_pairs import SamplePair, commit_pairs

VALUES = (0.5, 0.75, 0.9)


def observe(folder: Path, setting: str) -> dict[str, Any]:
    """Build a dataset of pairs with the `VALUES`, re-cut it both ways and report on it."""
    store = open_store(folder / "pairs")
    pairs = [SamplePair(background_ssim=value) for value in VALUES]
    page = make_report(store, commit_pairs(store, pairs, store_dropped=True)).page
    built = _reasons(store)
    recuts = {}
    for bound in (0.6, 0.95, FilterConfig.model_fields[setting].default):
        recut(store, {setting: bound})
        recuts[str(bound)] = _reasons(store)
    row = next(_rows(store))
    return {
        "default": FilterConfig.model_fields[setting].default,
        "description": FilterConfig.model_fields[setting].description,
        "built": built,
        "recuts": recuts,
        "damage": _broken_thresholds(store, _current(store)),
        "damage_beyond": _broken_thresholds(store, _with_bound(_current(store), setting, 0.95)),
        "without_the_setting": find_objections(row, {"min_combined": 1.0}),
        "page": re.sub(r"\s+", " ", page),
    }


def _broken_thresholds(store: ObjectStore, snapshot: Snapshot) -> list[str]:
    found = verify_snapshot(store, snapshot).damage.listed
    return [each.got for each in found if each.check is Flaw.THRESHOLDS]


def _with_bound(snapshot: Snapshot, setting: str, bound: float) -> Snapshot:
    """Return a snapshot that claims another bound than the one that decided."""
    runs = tuple(run.model_copy(update={"recut": {setting: bound}}) for run in snapshot.runs)
    return snapshot.model_copy(update={"runs": runs})


def _reasons(store: ObjectStore) -> list[list[str]]:
    return [row["reject_reasons"] for row in _rows(store)]


def _rows(store: ObjectStore) -> Iterator[dict[str, Any]]:
    for batch in iter_manifest(store, _current(store).parts):
        yield from batch.to_pylist()


def _current(store: ObjectStore) -> Snapshot:
    snapshot = current_snapshot(store)
    assert snapshot is not None
    return snapshot


if __name__ == "__main__":
    print(json.dumps(observe(Path(sys.argv[1]), sys.argv[2])))
