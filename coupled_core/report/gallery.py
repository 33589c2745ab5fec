"""The pairs of a page as data: text, scores and thumbnails, within the bytes they may take."""

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from coupled_core.progress import current_progress
from coupled_core.report.formats import elide
from coupled_core.report.pair_images import PairImages
from coupled_core.report.selection import ChosenPair
from coupled_core.report.thumbnails import Thumbnails, make_thumbnails

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
    "split",
    "review_status",
)
SCORES = (
    "combined",
    "background_similarity",
    "alignment",
    "clip_sim_dir",
    "clip_sim_image",
    "background_psnr",
    "background_ssim",
    "pixel_mse",
    "joint_entity_fraction",
)
_OTHERS = ("seed", "width", "height")
COLUMNS = (
    *TEXTS, *SCORES, *_OTHERS,
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
    """Return columns and rows of a gallery whose JSON takes at most `max_bytes`.

    Thumbnails get what the texts leave, each pair the same; below some three kilobytes a pair they
    are as small as thumbnails get, whatever the limit.

    Args:
        pairs: In the order of the page.
        images: Of some of the pairs, in any order; read once.
        max_bytes: Of the gallery as JSON, in the form in which a page holds it.
    """
    described = [_describe(pair) for pair in pairs]
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
    return {"columns": list(COLUMNS), "rows": rows}


def count_json_bytes(value: Any) -> int:
    """Return what a value takes as JSON inside a page, where <, >, & and ' are written out."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return len(text.encode()) + 5 * sum(text.count(character) for character in "<>&'")


def _describe(pair: ChosenPair) -> list[Any]:
    row = pair.row
    return [
        *(None if row[name] is None else elide(row[name], _MAX_CHARS) for name in TEXTS),
        *(_plain(row[name]) for name in SCORES),
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
