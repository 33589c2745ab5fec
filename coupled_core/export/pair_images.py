"""Pairs with their images, streamed from the image parts: one row group in memory at a time."""

import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import pyarrow.parquet as pq
from PIL import Image

from coupled_core.dataset.part_files import PART_ERRORS, open_part
from coupled_core.errors import DatasetError, NotFoundError
from coupled_core.export.edits import ExportedPair, ImageFile
from coupled_core.export.plan import Row
from coupled_core.storage.store import ObjectStore

_BATCH_ROWS = 4
_COLUMNS = ["pair_id", "image_0", "image_1"]


def read_pairs(
    store: ObjectStore, rows: Sequence[Row], *, as_png: bool = False
) -> Iterator[ExportedPair]:
    """Yield the pairs of manifest rows; row groups without a wanted pair are not fetched.

    Args:
        store: The dataset.
        rows: Sorted by image part and row.
        as_png: Re-encode images of other formats; the pixels stay.

    Raises:
        DatasetError: a part is missing or damaged, a row stands for another pair, or the images
            are not what the manifest says.
    """
    for part, group in groupby(rows, key=lambda row: row["image_part"]):
        wanted = _by_place(group, f"{store.uri}/{part}")
        for row, found in _read_part(store, part, wanted):
            yield _join(row, found, f"{store.uri}/{part}", as_png=as_png)


def _by_place(rows: Iterable[Row], where: str) -> dict[int, Row]:
    by_place: dict[int, Row] = {}
    for row in rows:
        first = by_place.setdefault(row["image_row"], row)
        if first is not row:
            raise DatasetError(
                f"pairs {first['pair_id']} and {row['pair_id']} of the manifest both name row "
                f"{row['image_row']} of {where}: run `coupled verify` on the dataset"
            )
    return by_place


def _read_part(
    store: ObjectStore, part: str, wanted: dict[int, Row]
) -> Iterator[tuple[Row, dict[str, Any]]]:
    num_found = 0
    try:
        with store.open_input(part) as source, open_part(source) as file:
            for position, found in _wanted_rows(file, wanted):
                num_found += 1
                yield wanted[position], found
    except NotFoundError as error:
        raise DatasetError(f"part {store.uri}/{part} is missing: restore it") from error
    except MemoryError:  # pyarrow's is an ArrowException too
        raise
    except PART_ERRORS as error:
        raise DatasetError(f"part {store.uri}/{part} is damaged: {error}") from error
    if num_found != len(wanted):
        raise DatasetError(
            f"the manifest names row {max(wanted)} of {store.uri}/{part}, which ends before it"
        )


def _wanted_rows(
    file: pq.ParquetFile, wanted: dict[int, Row]
) -> Iterator[tuple[int, dict[str, Any]]]:
    first = 0
    for index in range(file.num_row_groups):
        end = first + file.metadata.row_group(index).num_rows
        if any(first <= position < end for position in wanted):
            position = first
            for batch in file.iter_batches(_BATCH_ROWS, [index], _COLUMNS, use_threads=False):
                for offset in range(batch.num_rows):
                    if position + offset in wanted:
                        yield position + offset, batch.slice(offset, 1).to_pylist()[0]
                position += batch.num_rows
        first = end


def _join(row: Row, found: dict[str, Any], where: str, *, as_png: bool) -> ExportedPair:
    if (name := found.get("pair_id")) != row["pair_id"]:
        raise DatasetError(
            f"row {row['image_row']} of {where} holds pair {name}, the manifest "
            f"expects {row['pair_id']}: run `coupled verify` on the dataset"
        )
    first, second = (_image(row, found, index, where, as_png=as_png) for index in (0, 1))
    return ExportedPair(row, (first, second))


def _image(row: Row, found: dict[str, Any], index: int, where: str, *, as_png: bool) -> ImageFile:
    data: bytes = (found.get(f"image_{index}") or {}).get("bytes") or b""
    digest = hashlib.sha256(data).hexdigest()
    if digest != (expected := row[f"image_{index}_sha256"]):
        raise DatasetError(
            f"image {index} of pair {row['pair_id']} in {where} has SHA-256 {digest}, the "
            f"manifest expects {expected}: restore the part"
        )
    with Image.open(io.BytesIO(data)) as picture:  # reads the header only
        size, extension = picture.size, str(picture.format).lower()
        if size != (row["width"], row["height"]):
            raise DatasetError(
                f"image {index} of pair {row['pair_id']} is {size[0]} x {size[1]} pixels, "
                f"expected {row['width']} x {row['height']} as its pair"
            )
        if as_png and extension != "png":
            data = _encode_png(picture)
            digest, extension = hashlib.sha256(data).hexdigest(), "png"
    return ImageFile(f"{row['pair_id']}-{index}", data, extension, digest)


def _encode_png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()
