"""The picture: its size, where images lie, and that every block and cell is labelled."""

import io

import numpy as np
from PIL import Image

from coupled_core.research.comparison.picture import (
    CELL_PX,
    GAP_PX,
    IMAGE_PX,
    NUM_COLUMNS,
    NUM_PAIRS,
    PROMPTS_PX,
    TITLE_PX,
    corner_of,
    draw_picture,
    draw_worst,
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


def test_it_has_a_block_a_pair_and_a_cell_a_method() -> None:
    height, width, _ = _draw().shape
    assert (width, height) == size_of(num_pairs=2, num_methods=2)


def test_more_methods_make_blocks_higher_and_not_wider_and_no_cell_covers_another() -> None:
    many = NUM_COLUMNS + 2
    assert size_of(1, many)[0] == size_of(1, NUM_COLUMNS)[0]
    corners = [corner_of(pair, method, many) for pair in range(2) for method in range(many)]
    for at, (left, top) in enumerate(corners):
        for x, y in corners[at + 1 :]:
            assert abs(x - left) >= CELL_PX or abs(y - top) >= IMAGE_PX
    width, height = size_of(2, many)
    assert max(x for x, _ in corners) + CELL_PX < width
    assert max(y for _, y in corners) + IMAGE_PX < height


def test_a_prompt_that_is_too_long_is_cut_and_stays_inside() -> None:
    row = build_row("coupled", "lake " * 80, shade=80)
    data = draw_picture(build_results([row]))
    assert data is not None
    picture = np.asarray(Image.open(io.BytesIO(data))).min(axis=2)
    assert (picture[GAP_PX : GAP_PX + PROMPTS_PX, -GAP_PX // 2 :] == 255).all()


def test_ours_comes_first_and_both_images_of_a_pair_stand_side_by_side() -> None:
    picture = _draw()
    for (method, group), shade in SHADES.items():
        left, top = corner_of(["lake", "forest"].index(group), int(method != "coupled"), 2)
        both = picture[top : top + IMAGE_PX, left : left + CELL_PX]
        assert (both[:, :IMAGE_PX] == shade).all()
        assert (both[:, -IMAGE_PX:] == shade).all()


def test_every_block_and_cell_is_labelled() -> None:
    picture = _draw().min(axis=2)
    for index in range(2):
        left, top = corner_of(index, index, 2)
        title = picture[top - TITLE_PX : top, left : left + CELL_PX]
        prompts = picture[top - TITLE_PX - PROMPTS_PX : top - TITLE_PX, :CELL_PX]
        scores = picture[top + IMAGE_PX : top + IMAGE_PX + 20, left : left + CELL_PX]
        assert all((area < 128).any() for area in (title, prompts, scores))


def test_a_guard_is_written_in_red_under_its_pair() -> None:
    left, top = corner_of(0, 0, 2)
    below = (slice(top + IMAGE_PX, top + IMAGE_PX + 20), slice(left, left + CELL_PX))
    fine, guarded = (picture[below].astype(int) for picture in (_draw(), _draw(guards=("unsafe",))))
    assert not ((fine[..., 0] - fine[..., 1]) > 80).any()
    assert ((guarded[..., 0] - guarded[..., 1]) > 80).any()


def test_results_without_images_make_no_picture() -> None:
    assert draw_picture(build_results([build_row("coupled", "lake")])) is None


def test_no_more_pairs_are_shown_than_a_page_takes() -> None:
    data = draw_picture(build_results([build_row("coupled", str(i), shade=9) for i in range(9)]))
    assert data is not None
    assert Image.open(io.BytesIO(data)).size == size_of(NUM_PAIRS, 1)


def test_our_worst_pairs_stand_beside_stock_images_whatever_other_methods_did() -> None:
    rows = []
    for index in range(8):
        right = {"right_fraction": 0.0 if index == 3 else 1.0}
        ours = build_row("coupled", str(index), shade=10 * (index + 1), combined=5.0 - index)
        rows.append(ours | right)
        rows.append(build_row("random-seed", str(index), shade=200) | {"right_fraction": 0.0})
        rows.append(build_row("p2p", str(index), shade=250, combined=-9.0))
    data = draw_worst(build_results(rows))
    assert data is not None
    picture = np.asarray(Image.open(io.BytesIO(data)))
    assert picture.shape[1::-1] == size_of(NUM_PAIRS, 2)
    shades = []
    for pair in range(NUM_PAIRS):
        (left, top), (beside, _) = (corner_of(pair, method, 2) for method in range(2))
        shades.append(int(picture[top, left, 0]))
        assert picture[top, beside, 0] == 200
    assert shades == [40, 80, 70, 60, 50, 30]  # the wrong one, then by falling J


def test_without_stock_images_there_is_nothing_to_stand_beside() -> None:
    assert draw_worst(build_results([build_row("coupled", "lake", shade=9)])) is None
