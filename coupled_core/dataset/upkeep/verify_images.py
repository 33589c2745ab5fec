"""Rows of images against manifest rows: are they those that the manifest describes."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from coupled_core.dataset.images import decode_image, decode_mask
from coupled_core.dataset.parts import PartInfo
from coupled_core.dataset.reader import iter_manifest, iter_rows
from coupled_core.dataset.rows import Row
from coupled_core.dataset.upkeep.damage import Check, Damage, DamageLog, read_batches
from coupled_core.errors import DatasetError
from coupled_core.progress import current_progress
from coupled_core.storage.store import ObjectStore

_BATCH_ROWS = 16
_COLUMNS = (
    *("pair_id", "image_part", "image_row", "width", "height"),
    *("image_0_sha256", "image_1_sha256", "image_0_bytes", "image_1_bytes"),
    *("mask_0_area_fraction", "mask_1_area_fraction"),
)

_SAYS = "manifest_row"
"""Entry of an expected row: the manifest part and row that it comes from."""


def expected_images(
    store: ObjectStore, manifest_parts: Iterable[PartInfo], part: PartInfo, log: DamageLog
) -> dict[int, Row]:
    """Return what the manifest says about each row of an image part, by row of that part."""
    expected: dict[int, Row] = {}
    for manifest in manifest_parts:
        try:
            rows = iter_rows(iter_manifest(store, [manifest], _COLUMNS))
            for index, row in enumerate(rows):
                if row["image_part"] == part.key:
                    _enter(expected, row | {_SAYS: f"{manifest.key} row {index}"}, log)
        except DatasetError:  # damage that was written down when the manifest part was read
            continue
    return expected


def verify_images(
    path: Path,
    part: PartInfo,
    expected: Mapping[int, Row],
    log: DamageLog,
    pool: Executor,
) -> int:
    """Compare every row of an image part with its manifest row; return the number compared.

    Args:
        path: The part as a local file.
        part: What it is.
        expected: As `expected_images` returns it.
        log: Takes what is wrong.
        pool: Threads for decoding and hashing, which release the interpreter's lock.
    """
    first_row, num_compared = 0, 0
    progress = current_progress()
    for batch in read_batches(path, part, log, columns=None, batch_rows=_BATCH_ROWS):
        checks = [
            _RowCheck(part.key, first_row + index, row, expected.get(first_row + index))
            for index, row in enumerate(batch.to_pylist())
        ]
        for found in pool.map(_RowCheck.run, checks):
            for damage in found:
                log.record(damage)
        num_compared += sum(check.expected is not None for check in checks)
        first_row += batch.num_rows
        progress.advance("images", batch.num_rows)
    return num_compared


def _enter(expected: dict[int, Row], row: Row, log: DamageLog) -> None:
    place = row["image_row"]
    if place in expected:
        first = f"one manifest row, {expected[place][_SAYS]} of pair {expected[place]['pair_id']}"
        got = f"{row[_SAYS]} as well"
        key = row["image_part"]
        log.add(Check.PLACE, key, place, expected=first, got=got, pair_id=row["pair_id"])
    expected[place] = row


@dataclass(frozen=True)
class _RowCheck:
    """One row of an image part, and what the manifest says about it."""

    part: str
    index: int
    found: Row
    expected: Row | None
    """None: no manifest row points here."""

    def run(self) -> list[Damage]:
        """Return everything that is wrong."""
        if self.expected is None:
            # A pair that a re-cut brought back has its images copied; the copy is what counts.
            is_copied = self.part.startswith("dropped/")
            nobody = self._damage(Check.IMAGE_ROW, "a manifest row that points here", "none")
            return [] if is_copied else [nobody]
        if self.found["pair_id"] != self.expected["pair_id"]:
            expected = f"pair {self.expected['pair_id']}, as {self.expected[_SAYS]} says"
            return [self._damage(Check.IMAGE_ROW, expected, f"pair {self.found['pair_id']}")]
        return [*self._check_image(0), *self._check_image(1), *self._check_masks()]

    def _check_image(self, number: int) -> Iterator[Damage]:
        assert self.expected is not None
        name = f"image_{number}"
        data = self._bytes(name)
        if len(data) != (size := self.expected[f"{name}_bytes"]):
            yield self._damage(Check.IMAGE_BYTES, f"{size} bytes of {name}", len(data))
        digest = hashlib.sha256(data).hexdigest()
        if digest != (known := self.expected[f"{name}_sha256"]):
            yield self._damage(Check.IMAGE_HASH, f"SHA-256 {known} of {name}", digest)
        try:
            height, width = decode_image(data).shape[:2]
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            yield self._damage(Check.IMAGE_FORMAT, f"{name} that decodes", error)
            return
        wanted = (self.expected["width"], self.expected["height"])
        if (width, height) != wanted:
            yield self._damage(Check.IMAGE_SIZE, f"{name} of {wanted} pixels", (width, height))

    def _check_masks(self) -> Iterator[Damage]:
        assert self.expected is not None
        wanted = (self.expected["height"], self.expected["width"])
        for name in ("mask_0", "mask_1"):
            try:
                mask = decode_mask(self._bytes(name))
            except (OSError, ValueError, SyntaxError) as error:
                yield self._damage(Check.MASK, f"{name} that decodes", error)
                continue
            if mask.shape != wanted:
                yield self._damage(Check.MASK, f"{name} of {wanted[::-1]} pixels", mask.shape[::-1])
                continue
            share, known = float(np.mean(mask)), self.expected[f"{name}_area_fraction"]
            if known is None or abs(share - known) * mask.size > 0.5:
                yield self._damage(Check.MASK, f"{name} over {known} of the image", share)

    def _bytes(self, name: str) -> bytes:
        return bytes((self.found[name] or {}).get("bytes") or b"")

    def _damage(self, check: Check, expected: str, got: Any) -> Damage:
        return Damage(check, self.part, self.index, expected, str(got), self.found["pair_id"])
