"""The picture: its size, where images lie, and that every column and row is labelled."""

import io

import numpy as np
from PIL import Image

from coupled_core.research.comparison.picture import (
    CELL_PX,
    HEADER_PX,
    IMAGE_PX,
    TEXT_PX,
    corner_of,
    draw_picture,
    size_of,
)
from tests.unit.research.comparison.known_results import build_results, build_row

SHADES = {("prompt-switch", "lake"): 40, ("coupled", "lake"): 80,
          ("prompt-switch", "forest"): 120, ("coupled", "forest"): 160}  # fmt: skip


def _draw(**more: tuple[str, ...]) -> np.ndarray:
    rows = [build_row(m, g, shade=shade, **more) for (m, g), shade in SHADES.items()]
    hidden = build_row("coupled", "desert")
    data = draw_picture(build_results([*rows, hidden]))
    assert data is not None
    return np.asarray(Image.open(io.BytesIO(data)))


def test_it_has_a_row_a_pair_and_a_column_a_method() -> None:
    height, width, _ = _draw().shape
    assert (width, height) == size_of(num_pairs=2, num_methods=2)


def test_ours_comes_first_and_both_images_of_a_pair_stand_side_by_side() -> None:
    picture = _draw()
    for (method, group), shade in SHADES.items():
        left, top = corner_of(["lake", "forest"].index(group), int(method != "coupled"))
        both = picture[top : top + IMAGE_PX, left : left + CELL_PX]
        assert (both[:, :IMAGE_PX] == shade).all()
        assert (both[:, -IMAGE_PX:] == shade).all()


def test_every_column_row_and_cell_is_labelled() -> None:
    picture = _draw().min(axis=2)
    for index in range(2):
        left, top = corner_of(index, index)
        header = picture[:HEADER_PX, left : left + CELL_PX]
        prompts = picture[top : top + IMAGE_PX, :TEXT_PX]
        scores = picture[top + IMAGE_PX : top + IMAGE_PX + 20, left : left + CELL_PX]
        assert all((area < 128).any() for area in (header, prompts, scores))


def test_a_guard_is_written_in_red_under_its_pair() -> None:
    left, top = corner_of(0, 0)
    below = (slice(top + IMAGE_PX, top + IMAGE_PX + 20), slice(left, left + CELL_PX))
    fine, guarded = (picture[below].astype(int) for picture in (_draw(), _draw(guards=("unsafe",))))
    assert not ((fine[..., 0] - fine[..., 1]) > 80).any()
    assert ((guarded[..., 0] - guarded[..., 1]) > 80).any()


def test_results_without_images_make_no_picture() -> None:
    assert draw_picture(build_results([build_row("coupled", "lake")])) is None
