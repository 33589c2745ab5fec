"""Read everything that a snapshot names, and say exactly what is not as it should be."""

from collections import defaultdict
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field

from coupled_core.dataset.funnel import Funnel
from coupled_core.dataset.parts import PartInfo
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.dataset.upkeep.damage import Check, DamageLog, hashed_part
from coupled_core.dataset.upkeep.partition import NearBackgrounds
from coupled_core.dataset.upkeep.verify_images import expected_images, verify_images
from coupled_core.dataset.upkeep.verify_rows import ManifestChecks, RowLedger
from coupled_core.errors import DatasetError
from coupled_core.progress import current_progress
from coupled_core.storage.store import ObjectStore

_UNREAD = {Check.PART_MISSING, Check.PART_SIZE, Check.PART_HASH, Check.PART_FORMAT}
"""Damage after which counts of rows differ anyway."""


@dataclass(frozen=True)
class VerifyReport:
    """What was looked at and what was found."""

    snapshot_id: str
    num_parts: int
    num_bytes: int
    """Bytes of the parts that are there; all of them were hashed."""
    num_rows: int
    num_compared: int
    """Pairs whose images and masks were decoded and compared with their manifest rows."""
    near_backgrounds: tuple[NearBackgrounds, ...] = ()
    """Pairs of backgrounds in different partitions: not damage, but perhaps a leak."""
    damage: DamageLog = field(default_factory=DamageLog)

    @property
    def is_whole(self) -> bool:
        """Nothing is wrong."""
        return self.damage.total == 0


def verify_snapshot(
    store: ObjectStore, snapshot: Snapshot, *, num_threads: int = 4
) -> VerifyReport:
    """Check a snapshot byte by byte; damage is reported, not raised.

    Every part is read once and hashed, remote ones through a temporary copy. In memory are a few
    images a thread, the rows of one manifest part, and some 60 bytes for each row.

    Args:
        store: The dataset.
        snapshot: What to check.
        num_threads: Threads that hash and decode images.

    Raises:
        StorageError: the store does not answer; that says nothing about the dataset.
    """
    return _Verification(store, snapshot).run(num_threads)


class _Verification:
    """One pass over a snapshot: manifest parts, what they say together, images against them."""

    def __init__(self, store: ObjectStore, snapshot: Snapshot) -> None:
        self._store, self._snapshot = store, snapshot
        self._manifest = snapshot.parts_of("manifest")
        self._others = [part for part in snapshot.parts if part.kind != "manifest"]
        self._log = DamageLog()
        self._ledger = RowLedger()
        self._funnels: dict[str, Funnel] = defaultdict(Funnel)
        self._num_images = {part.key: part.num_rows for part in self._others}
        self._num_bytes = self._num_compared = 0

    def run(self, num_threads: int) -> VerifyReport:
        progress = current_progress()
        progress.begin("rows", sum(part.num_rows for part in self._manifest))
        progress.begin("images", sum(part.num_rows for part in self._others))
        for part in self._manifest:
            self._verify_manifest(part)
        self._ledger.report(self._log)
        self._compare_funnels()
        with ThreadPoolExecutor(num_threads) as pool:
            for part in self._others:
                self._verify_images(part, pool)
        num_parts = len(self._snapshot.parts)
        counts = (num_parts, self._num_bytes, self._ledger.num_rows, self._num_compared)
        near = tuple(self._ledger.near_backgrounds())
        return VerifyReport(self._snapshot.snapshot_id, *counts, near, self._log)

    def _verify_manifest(self, part: PartInfo) -> None:
        run = self._snapshot.run_of(part)
        if run is None:
            self._log.add(
                Check.SNAPSHOT, part.key, expected=f"run {part.run_id}", got="no such run"
            )
        thresholds = run.thresholds if run else {}
        checks = ManifestChecks(part, self._num_images, thresholds, self._log)
        with hashed_part(self._store, part, self._log) as path:
            if path is not None:
                self._num_bytes += path.stat().st_size
                self._funnels[part.run_id] += checks.verify(path, self._ledger)
        current_progress().advance("rows", part.num_rows)

    def _compare_funnels(self) -> None:
        """Compare what was counted with what the snapshot says, unless rows could not be read."""
        if _UNREAD & self._log.counts.keys():
            return
        for run in self._snapshot.runs:
            found, said = self._funnels[run.run_id].to_dict(), run.funnel.to_dict()
            for name, value in found.items():
                if said[name] != value:
                    what = f"{name} = {said[name]} of run {run.run_id}"
                    self._log.add(Check.FUNNEL, None, expected=what, got=value)
            try:
                self._funnels[run.run_id].check()
            except DatasetError as error:
                self._log.add(Check.FUNNEL, None, expected="a funnel that adds up", got=error)

    def _verify_images(self, part: PartInfo, pool: Executor) -> None:
        holders = self._ledger.holders_of(part.key)
        manifest = [each for each in self._manifest if each.key in holders]
        with hashed_part(self._store, part, self._log) as path:
            if path is None:
                current_progress().advance("images", part.num_rows)
                return
            self._num_bytes += path.stat().st_size
            expected = expected_images(self._store, manifest, part, self._log)
            self._num_compared += verify_images(path, part, expected, self._log, pool)
