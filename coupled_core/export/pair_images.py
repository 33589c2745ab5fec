"""Pairs with their images, streamed from the image parts: one row group in memory at a time."""

import hashlib
import io
from collections.abc import Iterator, Sequence

from PIL import Image

from coupled_core.dataset.columns import IMAGE_FIELDS
from coupled_core.dataset.reader import iter_stored_images
from coupled_core.dataset.rows import Row
from coupled_core.errors import DatasetError
from coupled_core.export.edits import ExportedPair, ImageFile
from coupled_core.storage.store import ObjectStore


def read_pairs(
    store: ObjectStore, rows: Sequence[Row], *, as_png: bool = False
) -> Iterator[ExportedPair]:
    """Yield the pairs of manifest rows in the order of their images.

    Args:
        rows: What `iter_windows` yields.
        as_png: Re-encode images of other formats; the pixels stay.

    Raises:
        DatasetError: the images are not those that the manifest describes (`iter_stored_images`).
    """
    for row, found in iter_stored_images(store, rows, IMAGE_FIELDS[:2]):
        first, second = (
            _open_image(row, number, found[f"image_{number}"]["bytes"], as_png=as_png)
            for number in (0, 1)
        )
        yield ExportedPair(row, (first, second))


def _open_image(row: Row, number: int, data: bytes, *, as_png: bool) -> ImageFile:
    digest = row[f"image_{number}_sha256"]
    with Image.open(io.BytesIO(data)) as picture:  # reads the header only
        size, extension = picture.size, str(picture.format).lower()
        if size != (row["width"], row["height"]):
            raise DatasetError(
                f"image {number} of pair {row['pair_id']} is {size[0]} x {size[1]} pixels, "
                f"expected {row['width']} x {row['height']} as its pair"
            )
        if as_png and extension != "png":
            data = _encode_png(picture)
            digest, extension = hashlib.sha256(data).hexdigest(), "png"
    return ImageFile(f"{row['pair_id']}-{number}", data, extension, digest)


def _encode_png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()
