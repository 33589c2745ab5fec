"""The pairs of a page as data: text, scores and thumbnails, within the bytes they may take."""

import base64
import io
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from coupled_core.filters import read_extra_scores
from coupled_core.progress import current_progress
from coupled_core.report.numbers import elide
from coupled_core.report.pair_images import PairImages
from coupled_core.report.selection import ChosenPair

_BYTES_PER_PIXEL = 0.13
"""A photograph as WebP of middling quality; only where the search for a size begins."""
_MIN_SIDE_PX, _MAX_SIDE_PX = 48, 384
_MASK_SIDE_PX = 64
_MASK_SHARE = 0.15
"""Share of a pair's bytes that its two masks may take."""
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
        max_bytes: What all four data URIs may take together.
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


TEXTS = (
    "pair_id",
    "group_id",
    "prompt_0",
    "prompt_1",
    "background_prompt",
    "entity_0",
    "entity_1",
    "edit_instruction",
    "variation_kind",
    "partition",
    "review_status",
)
SCORES = {
    "combined": "Combined J",
    "background_similarity": "Background similarity S",
    "background_similarity_clear": "S clear of masks",
    "alignment": "Alignment T",
    "clip_sim_dir": "Directional similarity",
    "clip_sim_image": "Image similarity",
    "background_psnr": "Background PSNR",
    "background_ssim": "Background SSIM",
    "rim_seam": "Seam",
    "equal_fraction": "Equal pixels",
    "pixel_mse": "Change of pixels",
    "joint_entity_fraction": "Share of entities",
}
"""Columns that pairs are sorted and filtered by, and what the page calls them."""
_OTHERS = ("seed", "width", "height", "image_index_0", "image_index_1")
_LAST = (
    "kept", "reasons", "kinds",
    "image_0", "image_1", "mask_0", "mask_1", "thumb_width", "thumb_height",
)  # fmt: skip

_MAX_CHARS = 400
"""Longer texts are cut; the manifest has them in full."""
_THUMBNAIL_OVERHEAD = 40
"""Bytes of punctuation and sizes around a pair's thumbnails."""


def make_gallery(
    pairs: Sequence[ChosenPair], images: Iterable[PairImages], max_bytes: int
) -> dict[str, Any]:
    """Return columns, rows and scores of a gallery whose JSON takes at most `max_bytes`.

    Thumbnails get what the texts leave, each pair the same; below some three kilobytes a pair they
    are as small as thumbnails get, whatever the limit.

    Args:
        pairs: In the order of the page.
        images: Those of some of the pairs, in any order; read once.
        max_bytes: What the gallery may take as JSON, in the form in which a page holds it.
    """
    extra = [read_extra_scores(pair.row["extra_scores"]) for pair in pairs]
    names = sorted({name for scores in extra for name in scores})
    described = [
        _describe(pair, [scores.get(name) for name in names])
        for pair, scores in zip(pairs, extra, strict=True)
    ]
    text_bytes = sum(count_json_bytes(row) for row in described)
    each = (max_bytes - text_bytes) // max(1, len(pairs)) - _THUMBNAIL_OVERHEAD
    progress = current_progress()
    progress.begin("thumbnails", len(pairs))
    made: dict[str, Thumbnails] = {}
    for found in images:
        made[found.pair_id] = make_thumbnails(found, each)
        progress.advance("thumbnails")
    rows = [
        row + _thumbnail_columns(made.get(pair.row["pair_id"]))
        for pair, row in zip(pairs, described, strict=True)
    ]
    keys = [f"extra:{name}" for name in names]
    return {
        "columns": [*TEXTS, *SCORES, *keys, *_OTHERS, *_LAST],
        "scores": [*SCORES.items(), *zip(keys, names, strict=True)],
        "rows": rows,
    }


def count_json_bytes(value: Any) -> int:
    """Return what a value takes as JSON inside a page, where <, >, & and ' are written out."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    # The page writes each of these as \u003c and the like: six bytes instead of one.
    return len(text.encode()) + 5 * sum(text.count(character) for character in "<>&'")


def _describe(pair: ChosenPair, extra_scores: Iterable[float | None]) -> list[Any]:
    row = pair.row
    return [
        *(None if row[name] is None else elide(row[name], _MAX_CHARS) for name in TEXTS),
        *(_plain(row[name]) for name in SCORES),
        *map(_plain, extra_scores),
        *(row[name] for name in _OTHERS),
        bool(row["kept"]),
        row["reject_reasons"],
        pair.kinds,
    ]


def _plain(value: float | None) -> float | str | None:
    """Return a score as JSON: five digits will do, and infinity is a text."""
    if value is None or math.isnan(value):
        return None
    if math.isinf(value):
        return "-inf" if value < 0 else "inf"
    return float(f"{value:.5g}")


def _thumbnail_columns(made: Thumbnails | None) -> list[Any]:
    if made is None:
        return [None] * 6
    return [made.image_0, made.image_1, made.mask_0, made.mask_1, *made.size_px]
