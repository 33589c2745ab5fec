"""Rows of images against manifest rows: are they those that the manifest describes."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from coupled_core.dataset.images import decode_image, decode_mask
from coupled_core.dataset.parts import PartInfo
from coupled_core.dataset.reader import iter_manifest, iter_rows
from coupled_core.dataset.rows import Row
from coupled_core.dataset.upkeep.damage import Check, DamageLog, Finding, read_batches
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


def _enter(expected: dict[int, Row], row: Row, log: DamageLog) -> None:
    place = row["image_row"]
    if place in expected:
        first = f"one manifest row, {expected[place][_SAYS]} of pair {expected[place]['pair_id']}"
        got, pair_id = f"{row[_SAYS]} as well", row["pair_id"]
        log.add(Check.PLACE, row["image_part"], place, expected=first, got=got, pair_id=pair_id)
    expected[place] = row


def verify_images(
    path: Path, part: PartInfo, expected: Mapping[int, Row], log: DamageLog, pool: Executor
) -> int:
    """Compare every row of an image part with its manifest row; return the number compared.

    Args:
        path: The part as a local file.
        expected: What `expected_images` returns.
        pool: Threads for decoding and hashing, which release the interpreter's lock.
    """
    first_row, num_compared = 0, 0
    for batch in read_batches(path, part, log, columns=None, batch_rows=_BATCH_ROWS):
        rows = batch.to_pylist()
        said = [expected.get(first_row + index) for index in range(len(rows))]
        found = pool.map(_check_row, rows, said)
        for index, (row, findings) in enumerate(zip(rows, found, strict=True), first_row):
            # A pair that a re-cut brought back has its images copied; the copy is what counts.
            if index in expected or part.kind != "dropped":
                for finding in findings:
                    log.add_finding(finding, part.key, index, row["pair_id"])
        num_compared += sum(row is not None for row in said)
        first_row += batch.num_rows
        current_progress().advance("images", batch.num_rows)
    return num_compared


def _check_row(row: Row, said: Row | None) -> list[Finding]:
    """Return everything that is wrong about a row; None: no manifest row points to it."""
    if said is None:
        return [(Check.IMAGE_ROW, "a manifest row that points here", "none")]
    if row["pair_id"] != said["pair_id"]:
        expected = f"pair {said['pair_id']}, as {said[_SAYS]} says"
        return [(Check.IMAGE_ROW, expected, f"pair {row['pair_id']}")]
    images = chain.from_iterable(_check_image(row, said, name) for name in ("image_0", "image_1"))
    masks = chain.from_iterable(_check_mask(row, said, name) for name in ("mask_0", "mask_1"))
    return [*images, *masks]


def _check_image(row: Row, said: Row, name: str) -> Iterator[Finding]:
    data = _bytes_of(row, name)
    if len(data) != (size := said[f"{name}_bytes"]):
        yield Check.IMAGE_BYTES, f"{size} bytes of {name}", len(data)
    digest = hashlib.sha256(data).hexdigest()
    if digest != (known := said[f"{name}_sha256"]):
        yield Check.IMAGE_HASH, f"SHA-256 {known} of {name}", digest
    try:
        height, width = decode_image(data).shape[:2]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        yield Check.IMAGE_FORMAT, f"{name} that decodes", error
        return
    if (width, height) != (wanted := (said["width"], said["height"])):
        yield Check.IMAGE_SIZE, f"{name} of {wanted} pixels", (width, height)


def _check_mask(row: Row, said: Row, name: str) -> Iterator[Finding]:
    try:
        mask = decode_mask(_bytes_of(row, name))
    except (OSError, ValueError, SyntaxError) as error:
        yield Check.MASK, f"{name} that decodes", error
        return
    if (size := mask.shape[::-1]) != (wanted := (said["width"], said["height"])):
        yield Check.MASK, f"{name} of {wanted} pixels", size
        return
    share, known = float(np.mean(mask)), said[f"{name}_area_fraction"]
    if known is None or abs(share - known) * mask.size > 0.5:
        yield Check.MASK, f"{name} over {known} of the image", share


def _bytes_of(row: Row, name: str) -> bytes:
    return bytes((row[name] or {}).get("bytes") or b"")
