"""What lies around entities: S clear of their masks, and seams."""

from collections.abc import Sequence

import numpy as np
import pytest

from coupled_core.scoring.metrics import background_similarity
from coupled_core.scoring.rims import distance_px, is_near
from coupled_core.scoring.rims import rim_seam as _rim_seam

SIDE = 64


def box(top: int, left: int, size: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[top : top + size, left : left + size] = True
    return mask


def widen(mask: np.ndarray, *share: float) -> np.ndarray:
    return is_near(distance_px(mask), *share)


def rim_seam(images: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> float:
    return _rim_seam(images, [distance_px(mask) for mask in masks])


def paint(*boxes: tuple[np.ndarray, int]) -> np.ndarray:
    image = np.full((SIDE, SIDE, 3), 100, dtype=np.uint8)
    for where, level in boxes:
        image[where] = level
    return image


APART = (box(10, 10, 10), box(40, 40, 10))


def test_a_region_is_widened_by_a_share_of_the_shorter_side_and_nothing_stays_nothing() -> None:
    wide = widen(box(20, 20, 10))
    assert wide[16, 25]
    assert not wide[15, 25]
    assert not widen(np.zeros((SIDE, SIDE), dtype=bool)).any()
    assert widen(np.ones((SIDE, SIDE), dtype=bool)).all()


def test_what_differs_right_beside_a_mask_does_not_count_clear_of_it() -> None:
    halo = widen(APART[0], 0.05)
    images = paint((halo, 140), (APART[0], 200)), paint((APART[1], 30))
    region = APART[0] | APART[1]
    assert background_similarity(images, region) < 0
    assert background_similarity(images, widen(region)) == 0
    assert background_similarity((images[0], paint((box(0, 50, 4), 0))), widen(region)) < 0


def test_an_edge_around_an_entity_is_a_seam_and_one_in_both_images_is_not() -> None:
    clean = paint((APART[0], 200)), paint((APART[1], 30))
    assert rim_seam(clean, APART) == pytest.approx(0.0)
    halo = paint((widen(APART[0], 0.05), 120), (APART[0], 200))
    assert rim_seam((halo, clean[1]), APART) > 0.5
    horizon = (box(0, 0, SIDE) & (np.arange(SIDE) >= 16)[:, None], 60)
    both = paint(horizon, (APART[0], 200)), paint(horizon, (APART[1], 30))
    assert rim_seam(both, APART) == pytest.approx(0.0)


def test_it_is_the_same_whichever_image_comes_first() -> None:
    images = paint((widen(APART[0], 0.05), 120), (APART[0], 200)), paint((APART[1], 30))
    assert rim_seam(images, APART) == rim_seam(images[::-1], APART[::-1])


def test_where_there_is_no_rim_there_is_no_seam() -> None:
    everything, nothing = np.ones((SIDE, SIDE), dtype=bool), np.zeros((SIDE, SIDE), dtype=bool)
    images = paint((APART[0], 200)), paint()
    assert rim_seam(images, (everything, everything)) == 0.0
    assert rim_seam(images, (nothing, nothing)) == 0.0
