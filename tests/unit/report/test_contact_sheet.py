"""A contact sheet shows what it says: kept and dropped pairs, their masks, their difference."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coupled_core.dataset.commit.commit import commit_shards
from coupled_core.report.contact_sheet import (
    SheetRow,
    choose_rows,
    describe_pair,
    draw_contact_sheet,
    fit,
    make_contact_sheet,
    show_difference,
    tint_entity,
)
from coupled_core.storage.local import LocalStore
from tests.sample_shards import describe_run, make_rows, publish


def _row(*, kept: bool = True, side_px: int = 64, name: str = "a pair") -> SheetRow:
    image = np.full((side_px, side_px, 3), 90, np.uint8)
    mask = np.zeros((side_px, side_px), bool)
    mask[side_px // 4 : side_px // 2, side_px // 4 : side_px // 2] = True
    return SheetRow(image, image, mask, mask, kept, (name,))


@pytest.mark.parametrize(
    ("num_rows", "side_px", "size"),
    [(0, 64, (1430, 250)), (3, 64, (1430, 654)), (2, 512, (1750, 580))],
)
def test_a_sheet_grows_by_a_row_a_pair(num_rows: int, side_px: int, size: tuple[int, int]) -> None:
    sheet = Image.open(io.BytesIO(draw_contact_sheet([_row(side_px=side_px)] * num_rows)))
    assert (sheet.format, sheet.size) == ("PNG", size)


def test_small_pictures_are_enlarged_by_whole_pixels_and_large_ones_shrunk() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    enlarged = fit(picture, 192)
    assert enlarged.shape == (192, 144, 3)
    np.testing.assert_array_equal(enlarged[1::3, 1::3], picture)
    assert fit(np.zeros((512, 1024, 3), np.uint8), 256).shape == (128, 256, 3)


def test_the_entity_is_tinted_and_nothing_else() -> None:
    row = _row()
    shown = tint_entity(row.image_0, row.mask_0, 64)
    changed = (shown != row.image_0).any(axis=2)
    np.testing.assert_array_equal(changed, row.mask_0)


def test_the_difference_is_amplified_outside_the_entities_and_hidden_inside() -> None:
    row = _row()
    other = row.image_0.copy()
    other[0, 0] += 10
    other[20, 20] = 255
    shown = show_difference(row.image_0, other, row.mask_0, 64)
    assert shown[0, 0].tolist() == [40, 40, 40]
    assert set(np.unique(shown[row.mask_0])) == {150, 170}
    assert shown[40:, 40:].max() == 0


def test_a_third_of_the_rows_shows_dropped_pairs() -> None:
    stream = ({"kept": index % 2 == 0, "pair_id": str(index)} for index in range(200))
    chosen = choose_rows(stream, 24)
    assert [row["kept"] for row in chosen] == [True] * 16 + [False] * 8
    assert len({row["pair_id"] for row in chosen}) == 24


@pytest.mark.parametrize(
    ("num_kept", "num_dropped", "kept_shown"), [(50, 0, 24), (0, 50, 0), (50, 2, 22), (2, 50, 2)]
)
def test_what_one_kind_lacks_the_other_gets(
    num_kept: int, num_dropped: int, kept_shown: int
) -> None:
    rows = [{"kept": True}] * num_kept + [{"kept": False}] * num_dropped
    chosen = choose_rows(rows, 24)
    assert (len(chosen), sum(row["kept"] for row in chosen)) == (24, kept_shown)


def test_the_text_names_scores_entities_and_reasons() -> None:
    kept, _, dropped = make_rows("run", 0).rows[:3]
    text = "\n".join(describe_pair(kept))
    assert "kept" in text
    assert "combined 1.955" in text
    assert "an owl" in text
    assert describe_pair(dropped)[0] == "dropped: below_min_combined, mask_too_large"


def test_a_sheet_shows_the_pairs_of_a_run_that_have_images(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    commit_shards(store, [publish(store, "other", 0, num_kept=5)], describe_run("other"))
    snapshot = commit_shards(store, [publish(store, "run", 1)], describe_run("run"))
    assert snapshot is not None
    sheet = make_contact_sheet(store, snapshot, "run")  # two kept; the dropped one has no images
    assert Image.open(io.BytesIO(sheet)).size == (1430, 452)
    assert make_contact_sheet(store, snapshot, "run") == sheet
