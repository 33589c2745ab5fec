"""Small WebP pictures of pairs, each measured to stay within the bytes that it may cost."""

import base64
import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from coupled_core.report.pair_images import PairImages

_BYTES_PER_PIXEL = 0.13
"""A photograph as WebP of middling quality; only where the search for a size begins."""
_MIN_SIDE_PX, _MAX_SIDE_PX = 48, 384
_MASK_SIDE_PX = 64
_MASK_SHARE = 0.15
"""Of a pair's bytes, for both masks."""
_VEIL = (12, 14, 18, 184)
"""Red, green, blue, opacity: what a mask lays over all but the entity, whose colours stay."""
_LOSSLESS = 101
_LADDER: tuple[tuple[float, tuple[int, ...]], ...] = (
    (1.0, (_LOSSLESS, 80, 60, 40)),
    (0.75, (45, 30)),
    (0.5, (35, 15)),
    (0.25, (15,)),
)
"""Scales and qualities, best first; both images of a pair get the same, or blinking would show."""


@dataclass(frozen=True)
class Thumbnails:
    """A pair as the page holds it: data URIs."""

    image_0: str
    image_1: str
    mask_0: str
    """Transparent over the entity, dark elsewhere."""
    mask_1: str
    size_px: tuple[int, int]
    """(width, height) of the images."""


def make_thumbnails(images: PairImages, max_bytes: int) -> Thumbnails:
    """Return the largest and finest thumbnails whose data URIs fit; the smallest if none do.

    Args:
        images: The pair.
        max_bytes: Of all four data URIs together.
    """
    mask_0, mask_1 = (_encode_mask(mask) for mask in (images.mask_0, images.mask_1))
    left = max_bytes - len(mask_0) - len(mask_1)
    side = best_side_px(max_bytes)
    first, second = (_open(data) for data in (images.image_0, images.image_1))
    for scale, qualities in _LADDER:
        pictures = [_shrink(picture, round(side * scale)) for picture in (first, second)]
        for quality in qualities:
            if quality == _LOSSLESS and pictures[0].size != first.size:
                continue  # only worth its bytes where the page shows the very pixels
            uris = [_encode(picture, quality) for picture in pictures]
            if sum(map(len, uris)) <= left:
                return Thumbnails(uris[0], uris[1], mask_0, mask_1, pictures[0].size)
    return Thumbnails(uris[0], uris[1], mask_0, mask_1, pictures[0].size)


def best_side_px(max_bytes: int) -> int:
    """Return the longer side at which a photograph pair of middling quality costs so much."""
    per_image = max_bytes * (1 - _MASK_SHARE) * 3 / 4 / 2  # base64 writes 4 characters for 3 bytes
    side = math.sqrt(per_image / _BYTES_PER_PIXEL)
    return int(min(max(side, _MIN_SIDE_PX), _MAX_SIDE_PX) // 8 * 8)


def _open(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def _shrink(picture: Image.Image, side_px: int, how: int = Image.Resampling.LANCZOS) -> Image.Image:
    """Scale a picture down so that its longer side is `side_px`; never up."""
    factor = side_px / max(picture.size)
    if factor >= 1:
        return picture
    size = tuple(max(1, round(length * factor)) for length in picture.size)
    return picture.resize((size[0], size[1]), Image.Resampling(how))


def _encode(picture: Image.Image, quality: int) -> str:
    buffer = io.BytesIO()
    if quality == _LOSSLESS:
        picture.save(buffer, "WEBP", lossless=True, quality=40, method=2)
    else:
        picture.save(buffer, "WEBP", quality=quality, method=3)
    return _data_uri(buffer.getvalue())


def _encode_mask(data: bytes) -> str:
    grey = _shrink(Image.open(io.BytesIO(data)).convert("L"), _MASK_SIDE_PX, Image.Resampling.BOX)
    inside = np.asarray(grey) > 127
    veil = np.where(inside[..., None], np.zeros(4, np.uint8), np.array(_VEIL, np.uint8))
    buffer = io.BytesIO()
    Image.fromarray(veil.astype(np.uint8), "RGBA").save(
        buffer, "WEBP", lossless=True, quality=60, method=3
    )
    return _data_uri(buffer.getvalue())


def _data_uri(data: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(data).decode()}"
