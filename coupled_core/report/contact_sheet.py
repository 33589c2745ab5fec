"""A contact sheet: one PNG on which a person sees what a dataset is worth, a row a pair."""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from coupled_core.dataset.images import decode_image, decode_mask
from coupled_core.dataset.reader import iter_manifest, iter_rows
from coupled_core.dataset.rows import Row
from coupled_core.dataset.snapshot import Snapshot
from coupled_core.report.pair_images import PairImages, ShardWorks, has_images, iter_pair_images
from coupled_core.reservoir import Reservoir
from coupled_core.storage.store import ObjectStore

Picture = NDArray[np.uint8]
"""(H, W, 3), RGB."""
Mask = NDArray[np.bool_]
"""(H, W)."""

DIFFERENCE_GAIN = 4
"""Differences are shown this much stronger: 16 of 255 is hard to see otherwise."""
_TINT = np.array((255, 0, 160))
_TINT_SHARE = 0.4
_OUTLINE_PX = 2
_JOINT_GREYS = (150, 170)
_HATCH_PX = 6


def fit(image: Picture, cell_px: int) -> Picture:
    """Scale a picture into a square cell: small ones by whole pixels, large ones smoothly."""
    height, width = image.shape[:2]
    factor = cell_px // max(height, width)
    if factor >= 1:
        return image.repeat(factor, axis=0).repeat(factor, axis=1)
    size = (
        max(1, round(width * cell_px / max(height, width))),
        max(1, round(height * cell_px / max(height, width))),
    )
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def fit_mask(mask: Mask, cell_px: int) -> Mask:
    """Scale a mask as `fit` scales the picture that it belongs to."""
    grey = np.repeat(mask[..., None], 3, axis=2).astype(np.uint8) * 255
    return fit(grey, cell_px)[..., 0] > 127


def tint_entity(image: Picture, mask: Mask, cell_px: int) -> Picture:
    """Show where the entity was found: a tint inside its mask, and an outline."""
    shown, inside = fit(image, cell_px).astype(np.float64), fit_mask(mask, cell_px)
    shown[inside] = (1 - _TINT_SHARE) * shown[inside] + _TINT_SHARE * _TINT
    # The mask less the mask without its edge is its outline.
    shown[inside & ~_shrink(inside, _OUTLINE_PX)] = _TINT
    return shown.round().astype(np.uint8)


def show_difference(image_0: Picture, image_1: Picture, joint: Mask, cell_px: int) -> Picture:
    """Show the amplified absolute difference; the joint entity region, not compared, is hatched."""
    # int16, because differences of unsigned bytes would wrap round.
    difference = np.abs(image_0.astype(np.int16) - image_1.astype(np.int16)) * DIFFERENCE_GAIN
    shown = fit(np.minimum(difference, 255).astype(np.uint8), cell_px).copy()
    inside = fit_mask(joint, cell_px)
    rows, columns = np.indices(inside.shape)
    hatch = np.where((rows + columns) // _HATCH_PX % 2, *_JOINT_GREYS).astype(np.uint8)
    shown[inside] = hatch[inside][:, None]
    return shown


def _shrink(mask: Mask, by_px: int) -> Mask:
    """Take `by_px` pixels off the edge of a mask; the frame's edge counts as an edge."""
    padded = np.pad(mask, by_px)
    height, width = mask.shape
    steps = range(2 * by_px + 1)
    shifted = [padded[y : y + height, x : x + width] for y in steps for x in steps]
    shrunk: Mask = np.logical_and.reduce(shifted)
    return shrunk


_TITLES = (
    "image 0",
    "image 1",
    "entity mask 0",
    "entity mask 1",
    f"difference x{DIFFERENCE_GAIN}, masked",
    "scores",
)
_NUM_PICTURES = 5
_SMALL_CELL_PX, _LARGE_CELL_PX = 192, 256
_GAP_PX, _HEADER_PX, _TEXT_PX, _LINE_PX = 10, 38, 400, 21
_FONT_PX, _TITLE_FONT_PX = 15, 16
_PAPER, _INK, _FAINT, _RULE = "#ffffff", "#1d2126", "#5c6670", "#d5dade"
_KEPT, _DROPPED = "#12703a", "#b3261e"
_DROPPED_SHARE = 1 / 3


@dataclass(frozen=True)
class SheetRow:
    """One pair as it is shown."""

    image_0: Picture
    image_1: Picture
    mask_0: Mask
    mask_1: Mask
    kept: bool
    lines: tuple[str, ...]
    """Text beside the pictures; the first line is the verdict."""


def describe_pair(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the text beside a scored pair from its manifest row."""
    reasons = ", ".join(row["reject_reasons"])
    verdict = "kept" if row["kept"] else f"dropped: {reasons}"
    return (
        verdict,
        f"combined {row['combined']:.3f}, alignment {row['alignment']:.2f}",
        f"background similarity {row['background_similarity']:.2f},"
        f" PSNR {row['background_psnr']:.1f} dB, SSIM {row['background_ssim']:.3f}",
        f"0: {row['entity_0']}",
        f"1: {row['entity_1']}",
        f"entities cover {row['joint_entity_fraction']:.1%} of the frame",
        f"{row['group_id']}, seed {row['seed']}, {row['pair_id'][:8]}",
    )


def make_contact_sheet(store: ObjectStore, snapshot: Snapshot, run_id: str) -> bytes:
    """Return a sheet of some pairs that a run has in a snapshot, as PNG.

    Kept pairs have their images in the dataset; dropped ones as long as the work of their shard is
    left, as it is right after a build.
    """
    works = ShardWorks(store)
    parts = [part for part in snapshot.parts if part.run_id == run_id]
    rows = iter_rows(iter_manifest(store, parts))
    chosen = choose_rows(row for row in rows if has_images(row, works))
    found = {images.pair_id: images for images in iter_pair_images(store, chosen, works)}
    shown = [(row, found[row["pair_id"]]) for row in chosen if row["pair_id"] in found]
    return draw_contact_sheet([_sheet_row(row, images) for row, images in shown])


def choose_rows(rows: Iterable[Row], max_rows: int = 24, seed: int = 0) -> list[Row]:
    """Pick a mix of kept and dropped pairs from a stream of manifest rows.

    A third goes to dropped pairs if there are as many; what one kind does not need, the other gets.
    """
    kept, dropped = Reservoir[Row](max_rows, seed), Reservoir[Row](max_rows, seed)
    for row in rows:
        (kept if row["kept"] else dropped).add(row)
    num_dropped = max(round(max_rows * _DROPPED_SHARE), max_rows - len(kept.items))
    shown = dropped.items[:num_dropped]
    return kept.items[: max_rows - len(shown)] + shown


def draw_contact_sheet(rows: Sequence[SheetRow]) -> bytes:
    """Return a PNG with a header and a row a pair; small images are enlarged by whole pixels."""
    largest_px = max((max(row.image_0.shape[:2]) for row in rows), default=0)
    cell_px = _SMALL_CELL_PX if largest_px <= _SMALL_CELL_PX else _LARGE_CELL_PX
    row_px = cell_px + _GAP_PX
    text_left = _GAP_PX + _NUM_PICTURES * row_px
    size = (text_left + _TEXT_PX + _GAP_PX, _HEADER_PX + max(1, len(rows)) * row_px + _GAP_PX)
    sheet = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(sheet)
    for index, title in enumerate(_TITLES):
        pen.text((_GAP_PX + index * row_px, 10), title, _INK, font=_font(_TITLE_FONT_PX))
    for index, row in enumerate(rows):
        top = _HEADER_PX + index * row_px
        pen.line((0, top - _GAP_PX // 2, size[0], top - _GAP_PX // 2), _RULE)
        for column, panel in enumerate(_panels(row, cell_px)):
            sheet.paste(Image.fromarray(panel), (_GAP_PX + column * row_px, top))
        _write_lines(pen, row, (text_left, top), cell_px // _LINE_PX)
    if not rows:
        pen.text((_GAP_PX, _HEADER_PX), "no pair was scored", _FAINT, font=_font(_FONT_PX))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _sheet_row(row: Row, images: PairImages) -> SheetRow:
    return SheetRow(
        decode_image(images.image_0),
        decode_image(images.image_1),
        decode_mask(images.mask_0),
        decode_mask(images.mask_1),
        row["kept"],
        describe_pair(row),
    )


def _panels(row: SheetRow, cell_px: int) -> tuple[Picture, ...]:
    return (
        fit(row.image_0, cell_px),
        fit(row.image_1, cell_px),
        tint_entity(row.image_0, row.mask_0, cell_px),
        tint_entity(row.image_1, row.mask_1, cell_px),
        show_difference(row.image_0, row.image_1, row.mask_0 | row.mask_1, cell_px),
    )


def _write_lines(
    pen: ImageDraw.ImageDraw, row: SheetRow, corner: tuple[int, int], max_lines: int
) -> None:
    """Write a row's text, the verdict in its colour, wrapped to the column."""
    colours = [_KEPT if row.kept else _DROPPED] + [_INK] * (len(row.lines) - 1)
    pairs = zip(row.lines, colours, strict=True)
    wrapped = [(piece, colour) for line, colour in pairs for piece in _wrap(line)]
    for index, (line, colour) in enumerate(wrapped[:max_lines]):
        top = corner[1] + index * _LINE_PX
        pen.text((corner[0], top), line, colour, font=_font(_FONT_PX))


def _wrap(text: str) -> list[str]:
    """Break a line at spaces so that each piece fits the text column; later ones are indented."""
    first, *words = text.split() or [""]
    pieces = [first]
    for word in words:
        longer = f"{pieces[-1]} {word}"
        if _font(_FONT_PX).getlength(longer) > _TEXT_PX:
            pieces.append(f"    {word}")
        else:
            pieces[-1] = longer
    return pieces


@lru_cache(maxsize=4)
def _font(size_px: int) -> Any:
    return ImageFont.load_default(size_px)
