"""The comparison to look at: a block a prompt pair, in it a cell a method with both images.

Blocks are a few cells wide, not one row of all methods: where a page shrinks the picture to its
width, seams and crops must stay visible.
"""

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
from coupled_core.research.comparison.summary import STOCK, combined_of

NUM_PAIRS = 6
"""The most pairs that a picture shows."""
IMAGE_PX, GAP_PX, TITLE_PX, SCORES_PX, PROMPTS_PX = 192, 14, 22, 20, 44
NUM_COLUMNS = 4
_BETWEEN_PX, _LINE_PX = 2, 20
_FONT_PX, _TITLE_FONT_PX = 14, 17
_PAPER, _INK, _FAINT, _WARNING = "#ffffff", "#1d2126", "#5c6670", "#b3261e"

CELL_PX = 2 * IMAGE_PX + _BETWEEN_PX
_CELL_HEIGHT_PX = TITLE_PX + IMAGE_PX + SCORES_PX + GAP_PX


def draw_picture(results: pa.Table) -> bytes | None:
    """Return a PNG of the first pairs whose images the results hold; None: they hold none."""
    rows = _rows_with_images(results)
    return _draw_rows(rows, list({_pair_of(row): row for row in rows}.values()))


def draw_worst(results: pa.Table) -> bytes | None:
    """Return a PNG of our worst pairs beside stock images; None: the results do not hold them.

    Worst are, of the pairs whose images are there, those with the fewest images that show their
    entity; of these, those with the lowest J.
    """
    rows = [row for row in _rows_with_images(results) if row["method"] in (OURS, STOCK[0])]
    if len({row["method"] for row in rows}) < 2:
        return None
    ours = [row for row in rows if row["method"] == OURS]
    return _draw_rows(rows, sorted(ours, key=_badness))


def _rows_with_images(results: pa.Table) -> list[dict[str, Any]]:
    columns = [name for name in results.column_names if name not in ("knobs",)]
    mask = pc.and_(pc.equal(results["part"], "comparison"), pc.is_valid(results["image_0"]))
    found: list[dict[str, Any]] = results.select(columns).filter(mask).to_pylist()
    return found


def _badness(row: Mapping[str, Any]) -> tuple[float, float]:
    right = row["right_fraction"]
    return 1.0 if right is None else right, combined_of(row)


def _draw_rows(
    rows: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]
) -> bytes | None:
    if not rows:
        return None
    methods = sorted({row["method"]: None for row in rows}, key=lambda name: name != OURS)
    shown = {(_pair_of(row), row["method"]): row for row in rows}
    return _draw(pairs[:NUM_PAIRS], methods, shown)


def size_of(num_pairs: int, num_methods: int) -> tuple[int, int]:
    """Return width and height of a picture in pixels."""
    width = min(num_methods, NUM_COLUMNS) * (CELL_PX + GAP_PX) + GAP_PX
    return width, GAP_PX + num_pairs * _block_height(num_methods)


def corner_of(pair: int, method: int, num_methods: int) -> tuple[int, int]:
    """Return the upper left pixel (x, y) of the first image of a cell."""
    row, column = divmod(method, NUM_COLUMNS)
    top = GAP_PX + pair * _block_height(num_methods) + PROMPTS_PX
    return GAP_PX + column * (CELL_PX + GAP_PX), top + row * _CELL_HEIGHT_PX + TITLE_PX


def _block_height(num_methods: int) -> int:
    num_rows = -(-num_methods // NUM_COLUMNS)
    return PROMPTS_PX + num_rows * _CELL_HEIGHT_PX + GAP_PX


def _draw(
    pairs: Sequence[Mapping[str, Any]], methods: Sequence[str], shown: Mapping[Any, Any]
) -> bytes:
    sheet = Image.new("RGB", size_of(len(pairs), len(methods)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for row, pair in enumerate(pairs):
        top = GAP_PX + row * _block_height(len(methods))
        for line, prompt in enumerate((pair["prompt_0"], pair["prompt_1"])):
            fitting = _shorten(prompt, sheet.width - 2 * GAP_PX)
            pen.text((GAP_PX, top + line * _LINE_PX), fitting, _INK, font=_font(_FONT_PX))
        for column, method in enumerate(methods):
            left, upper = corner = corner_of(row, column, len(methods))
            pen.text((left, upper - TITLE_PX), method, _INK, font=_font(_TITLE_FONT_PX))
            _draw_cell(sheet, pen, shown.get((_pair_of(pair), method)), corner)
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


def _shorten(text: str, width_px: int) -> str:
    """Return a prompt as far as it fits into one line."""
    if _font(_FONT_PX).getlength(text) <= width_px:
        return text
    while text and _font(_FONT_PX).getlength(f"{text}…") > width_px:
        text = text[:-1]
    return f"{text}…"


def _pair_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["group_id"], row["seed"], row["image_i"], row["image_j"]


@lru_cache(maxsize=2)
def _font(size_px: int) -> Any:
    return ImageFont.load_default(size_px)
