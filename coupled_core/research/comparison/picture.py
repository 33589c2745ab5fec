"""The comparison to look at: a row a prompt pair, a column a method, both images in each cell."""

import io
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image, ImageDraw, ImageFont

from coupled_core.dataset.images import decode_image
from coupled_core.report.contact_sheet import fit
from coupled_core.research.comparison.settings import OURS

IMAGE_PX, GAP_PX, TEXT_PX, HEADER_PX, CAPTION_PX = 128, 12, 250, 34, 22
_BETWEEN_PX, _LINE_PX = 2, 17
_FONT_PX, _TITLE_FONT_PX = 13, 16
_PAPER, _INK, _FAINT, _WARNING = "#ffffff", "#1d2126", "#5c6670", "#b3261e"

CELL_PX = 2 * IMAGE_PX + _BETWEEN_PX
ROW_PX = IMAGE_PX + CAPTION_PX + GAP_PX


def draw_picture(results: pa.Table) -> bytes | None:
    """Return a PNG of the pairs whose images the results hold; None: they hold none."""
    columns = [name for name in results.column_names if name not in ("knobs",)]
    mask = pc.and_(pc.equal(results["part"], "comparison"), pc.is_valid(results["image_0"]))
    rows = results.select(columns).filter(mask).to_pylist()
    if not rows:
        return None
    methods = sorted({row["method"]: None for row in rows}, key=lambda name: name != OURS)
    pairs = list({_pair_of(row): row for row in rows}.values())
    shown = {(_pair_of(row), row["method"]): row for row in rows}
    return _draw(pairs, methods, shown)


def size_of(num_pairs: int, num_methods: int) -> tuple[int, int]:
    """Return width and height of a picture in pixels."""
    width = TEXT_PX + num_methods * (CELL_PX + GAP_PX) + GAP_PX
    return width, HEADER_PX + num_pairs * ROW_PX + GAP_PX


def corner_of(row: int, column: int) -> tuple[int, int]:
    """Return the upper left pixel (x, y) of the first image of a cell."""
    return TEXT_PX + GAP_PX + column * (CELL_PX + GAP_PX), HEADER_PX + row * ROW_PX


def _draw(
    pairs: Sequence[Mapping[str, Any]], methods: Sequence[str], shown: Mapping[Any, Any]
) -> bytes:
    sheet = Image.new("RGB", size_of(len(pairs), len(methods)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for column, method in enumerate(methods):
        pen.text((corner_of(0, column)[0], 9), method, _INK, font=_font(_TITLE_FONT_PX))
    for row, pair in enumerate(pairs):
        top = corner_of(row, 0)[1]
        _write_prompts(pen, pair, (GAP_PX, top))
        for column, method in enumerate(methods):
            found = shown.get((_pair_of(pair), method))
            _draw_cell(sheet, pen, found, corner_of(row, column))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _draw_cell(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    row: Mapping[str, Any] | None,
    corner: tuple[int, int],
) -> None:
    """Paste both images and write the scores, or what a guard found, below them."""
    left, top = corner
    below = (left, top + IMAGE_PX + 3)
    if row is None:
        pen.text(below, "no images", _WARNING, font=_font(_FONT_PX))
        return
    for side in range(2):
        picture = Image.fromarray(fit(decode_image(row[f"image_{side}"]), IMAGE_PX))
        sheet.paste(picture, (left + side * (IMAGE_PX + _BETWEEN_PX), top))
    scores = f"S {row['background_similarity']:.2f}  T {row['alignment']:.1f}"
    text = ", ".join(row["guards"]) or f"{scores}  J {row['combined']:.2f}"
    pen.text(below, text, _WARNING if row["guards"] else _FAINT, font=_font(_FONT_PX))


def _write_prompts(
    pen: ImageDraw.ImageDraw, row: Mapping[str, Any], corner: tuple[int, int]
) -> None:
    lines = [*_wrap(row["prompt_0"]), "", *_wrap(row["prompt_1"])]
    for index, line in enumerate(lines[: ROW_PX // _LINE_PX]):
        place = (corner[0], corner[1] + index * _LINE_PX)
        pen.text(place, line, _INK, font=_font(_FONT_PX))


def _wrap(text: str) -> list[str]:
    """Break a prompt at spaces so that each piece fits the text column."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _font(_FONT_PX).getlength(longer) > TEXT_PX - GAP_PX:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _pair_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["group_id"], row["seed"], row["image_i"], row["image_j"]


@lru_cache(maxsize=2)
def _font(size_px: int) -> Any:
    return ImageFont.load_default(size_px)
