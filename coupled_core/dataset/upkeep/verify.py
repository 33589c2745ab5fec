"""Read everything that a snapshot names, and say exactly what is not as it should be."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from coupled_core.dataset.columns import BACKGROUND_FIELDS
from coupled_core.dataset.funnel import Funnel
from coupled_core.dataset.images import decode_image, decode_mask
from coupled_core.dataset.parts import PartInfo
from coupled_core.dataset.reader import iter_manifest, iter_rows
from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.dataset.upkeep.damage import (
    DamageLog,
    Finding,
    Flaw,
    hashed_part,
    read_batches,
)
from coupled_core.dataset.upkeep.partition import NearBackgrounds
from coupled_core.dataset.upkeep.verify_index import verify_index
from coupled_core.dataset.upkeep.verify_rows import RowLedger, verify_rows
from coupled_core.errors import DatasetError
from coupled_core.progress import current_progress
from coupled_core.storage.store import ObjectStore

_UNREAD = {
    Flaw.PART_MISSING,
    Flaw.PART_SIZE,
    Flaw.PART_HASH,
    Flaw.PART_FORMAT,
}
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

    Every part is read and hashed, remote ones through a temporary copy. In memory are a few
    images a thread, the rows of one manifest part, and some 60 bytes for each row.

    Raises:
        StorageError: the store does not answer; that says nothing about the dataset.
    """
    return _Verification(store, snapshot).run(num_threads)


def require_whole(report: VerifyReport, dataset: str, *, strict: bool) -> None:
    """Refuse a snapshot in which something is wrong.

    Args:
        dataset: Its location, for the text.
        strict: Near-identical backgrounds in different partitions are wrong, too.

    Raises:
        DatasetError: naming the number of problems, and what to do about them.
    """
    if not report.is_whole:
        raise DatasetError(
            f"snapshot {report.snapshot_id} of {dataset} is damaged in {report.damage.total} "
            "places: restore the objects named above, or return with `coupled rollback`"
        )
    if strict and report.near_backgrounds:
        raise DatasetError(
            f"snapshot {report.snapshot_id} of {dataset} has {len(report.near_backgrounds)} "
            "near-identical backgrounds in different partitions, named above: drop their pairs "
            "with `coupled review`, or leave --strict out"
        )


class _Verification:
    """One pass over a snapshot: manifest parts, what they say together, images against them."""

    def __init__(self, store: ObjectStore, snapshot: Snapshot) -> None:
        self._store, self._snapshot = store, snapshot
        self._manifest = snapshot.parts_of("manifest")
        self._by_key = {part.key: part for part in self._manifest}
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
        # Manifest parts come first, because they say what the image parts should hold.
        for part in self._manifest:
            self._verify_manifest(part)
        self._ledger.report(self._log)
        self._compare_funnels()
        verify_index(self._store, self._snapshot, self._log)
        with ThreadPoolExecutor(num_threads) as pool:
            for part in self._others:
                self._verify_images(part, pool)
        num_parts = len(self._snapshot.parts)
        counts = (num_parts, self._num_bytes, self._ledger.num_rows, self._num_compared)
        near = tuple(self._ledger.near_backgrounds())
        return VerifyReport(self._snapshot.snapshot_id, *counts, near, self._log)

    def _verify_manifest(self, part: PartInfo) -> None:
        thresholds: Mapping[str, float] = {}
        try:
            thresholds = self._snapshot.run_of(part).thresholds
        except DatasetError:
            expected = f"run {part.run_id}"
            self._log.add((Flaw.SNAPSHOT, expected, "no such run"), part.key)
        with hashed_part(self._store, part, self._log) as path:
            if path is not None:
                self._num_bytes += path.stat().st_size
                self._funnels[part.run_id] += verify_rows(
                    path,
                    part,
                    self._ledger,
                    self._log,
                    thresholds=thresholds,
                    num_images=self._num_images,
                )
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
                    self._log.add((Flaw.FUNNEL, what, value), None)
            try:
                self._funnels[run.run_id].check()
            except DatasetError as error:
                self._log.add((Flaw.FUNNEL, "a funnel that adds up", error), None)

    def _verify_images(self, part: PartInfo, pool: Executor) -> None:
        # Read again, a few parts at a time: rows of the whole manifest do not fit in memory.
        holders = self._ledger.holders_of(part.key)
        manifest = [self._by_key[key] for key in holders]
        with hashed_part(self._store, part, self._log) as path:
            if path is None:
                current_progress().advance("images", part.num_rows)
                return
            self._num_bytes += path.stat().st_size
            expected = _expected_images(self._store, manifest, part, self._log)
            self._num_compared += _compare_images(path, part, expected, self._log, pool)


_IMAGE_ROWS = 16
_IMAGE_COLUMNS = (
    *("pair_id", "image_part", "image_row", "width", "height"),
    *("image_0_sha256", "image_1_sha256", "image_0_bytes", "image_1_bytes"),
    *("mask_0_area_fraction", "mask_1_area_fraction"),
)
_SAYS = "manifest_row"
"""Entry of an expected row: the manifest part and row that it comes from."""


def _expected_images(
    store: ObjectStore, manifest_parts: Iterable[PartInfo], part: PartInfo, log: DamageLog
) -> dict[int, Row]:
    """Return what the manifest says about each row of an image part, by row of that part."""
    expected: dict[int, Row] = {}
    for manifest in manifest_parts:
        try:
            rows = iter_rows(iter_manifest(store, [manifest], _IMAGE_COLUMNS))
            for index, row in enumerate(rows):
                if row["image_part"] == part.key:
                    _enter(expected, row | {_SAYS: f"{manifest.key} row {index}"}, log)
        except DatasetError:  # damage that was written down when the manifest part was read
            continue
    return expected


def _enter(expected: dict[int, Row], row: Row, log: DamageLog) -> None:
    place = row["image_row"]
    if place in expected:
        first = f"one manifest row, {expected[place][_SAYS]} of pair {expected[place]['pair_id']}"
        got = f"{row[_SAYS]} as well"
        log.add((Flaw.PLACE, first, got), row["image_part"], place, row["pair_id"])
    expected[place] = row


def _compare_images(
    path: Path, part: PartInfo, expected: Mapping[int, Row], log: DamageLog, pool: Executor
) -> int:
    """Compare every row of an image part with its manifest row; return the number compared.

    Args:
        expected: What `_expected_images` returns.
        pool: Threads for decoding and hashing, which release the interpreter's lock.
    """
    first_row, num_compared = 0, 0
    for batch in read_batches(path, part, log, columns=None, batch_rows=_IMAGE_ROWS):
        rows = batch.to_pylist()
        said = [expected.get(first_row + index) for index in range(len(rows))]
        found = pool.map(_check_row, rows, said)
        for index, (row, findings) in enumerate(zip(rows, found, strict=True), first_row):
            # A pair that a re-cut brought back has its images copied; the copy is what counts.
            if index in expected or part.kind != "dropped":
                for finding in findings:
                    log.add(finding, part.key, index, row["pair_id"])
        num_compared += sum(row is not None for row in said)
        first_row += batch.num_rows
        current_progress().advance("images", batch.num_rows)
    return num_compared


def _check_row(row: Row, said: Row | None) -> list[Finding]:
    """Return everything that is wrong about a row; None: no manifest row points to it."""
    if said is None:
        return [(Flaw.IMAGE_ROW, "a manifest row that points here", "none")]
    if row["pair_id"] != said["pair_id"]:
        expected = f"pair {said['pair_id']}, as {said[_SAYS]} says"
        return [(Flaw.IMAGE_ROW, expected, f"pair {row['pair_id']}")]
    images = chain.from_iterable(_check_image(row, said, name) for name in ("image_0", "image_1"))
    masks = chain.from_iterable(_check_mask(row, said, name) for name in ("mask_0", "mask_1"))
    shared = [name for name in BACKGROUND_FIELDS if name in row]
    others = chain.from_iterable(_check_picture(row, said, name) for name in shared)
    return [*images, *masks, *others]


def _check_image(row: Row, said: Row, name: str) -> Iterator[Finding]:
    data = _bytes_of(row, name)
    if len(data) != (size := said[f"{name}_bytes"]):
        yield Flaw.IMAGE_BYTES, f"{size} bytes of {name}", len(data)
    digest = hashlib.sha256(data).hexdigest()
    if digest != (known := said[f"{name}_sha256"]):
        yield Flaw.IMAGE_HASH, f"SHA-256 {known} of {name}", digest
    yield from _check_picture(row, said, name)


def _check_picture(row: Row, said: Row, name: str) -> Iterator[Finding]:
    try:
        height, width = decode_image(_bytes_of(row, name)).shape[:2]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        yield Flaw.IMAGE_FORMAT, f"{name} that decodes", error
        return
    if (width, height) != (wanted := (said["width"], said["height"])):
        yield Flaw.IMAGE_SIZE, f"{name} of {wanted} pixels", (width, height)


def _check_mask(row: Row, said: Row, name: str) -> Iterator[Finding]:
    try:
        mask = decode_mask(_bytes_of(row, name))
    except (OSError, ValueError, SyntaxError) as error:
        yield Flaw.MASK, f"{name} that decodes", error
        return
    if (size := mask.shape[::-1]) != (wanted := (said["width"], said["height"])):
        yield Flaw.MASK, f"{name} of {wanted} pixels", size
        return
    share, known = float(np.mean(mask)), said[f"{name}_area_fraction"]
    # The share is a count over a size: half a pixel apart is another count, less is rounding.
    if known is None or abs(share - known) * mask.size > 0.5:
        yield Flaw.MASK, f"{name} over {known} of the image", share


def _bytes_of(row: Row, name: str) -> bytes:
    return bytes((row[name] or {}).get("bytes") or b"")
