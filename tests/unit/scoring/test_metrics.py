"""The formulas: published rows, hand-computed values, symmetry, and attempts to game them."""

import math

import numpy as np
import pytest

from coupled_core.scoring import metrics

SIZE = 32
GOLDEN_ROWS = [
    (-2.080, 22.61, 1.558),
    (-67.42, 18.75, -0.919),
    (-4.604, 18.14, 1.246),
    (-48.47, 19.59, -0.214),
    (-8.663, 17.31, 1.063),
    (-4.953, 21.72, 1.413),
    (-12.13, 20.47, 1.099),
    (-5.585, 19.81, 1.296),
    (-30.79, 16.59, 0.253),
    (-4.55, 19.05, 1.293),
    (-4.263, 22.22, 1.462),
]


def _images(seed: int, count: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8) for _ in range(count)]


def _box(top: int, left: int, size: int) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[top : top + size, left : left + size] = True
    return mask


@pytest.mark.parametrize(("similarity", "aligned", "expected"), GOLDEN_ROWS)
def test_combined_reproduces_the_published_rows(
    similarity: float, aligned: float, expected: float
) -> None:
    assert metrics.combined(similarity, aligned) == pytest.approx(expected, abs=0.001)


def test_joint_entity_region_is_the_union() -> None:
    region = metrics.joint_entity_region([_box(0, 0, 8), _box(4, 4, 8)])
    assert region.sum() == 64 + 64 - 16
    assert metrics.validity_ratio(region) == pytest.approx(1 - 112 / 1024)


def test_background_similarity_is_the_error_of_a_background_value_over_100() -> None:
    first = np.full((SIZE, SIZE, 3), 100, dtype=np.uint8)
    second = np.full((SIZE, SIZE, 3), 120, dtype=np.uint8)
    region = _box(0, 0, 16)  # a quarter: the MSE shrinks to 3/4 of 400, 1/r undoes it
    assert metrics.background_similarity([first, second], region) == pytest.approx(-4.0)


def test_background_similarity_averages_over_all_pairs_of_a_group() -> None:
    images = [np.full((SIZE, SIZE, 3), value, dtype=np.uint8) for value in (100, 110, 130)]
    empty = np.zeros((SIZE, SIZE), dtype=bool)
    expected = -(100 + 400 + 900) / 3 / 100
    assert metrics.background_similarity(images, empty) == pytest.approx(expected)


def test_what_happens_inside_the_region_does_not_count() -> None:
    first = _images(0)[0]
    second = first.copy()
    second[4:12, 4:12] = 255 - second[4:12, 4:12]
    region = _box(4, 4, 8)
    assert metrics.background_similarity([first, second], region) == 0.0
    assert metrics.background_psnr([first, second], region) == metrics.MAX_PSNR_DB
    assert metrics.background_ssim([first, second], region) == pytest.approx(1.0)
    assert metrics.pixel_mse([first, second]) > 0.0


def test_background_psnr_of_a_known_error() -> None:
    first = np.full((SIZE, SIZE, 3), 100, dtype=np.uint8)
    region = _box(0, 0, 8)
    assert metrics.background_psnr([first, first + 10], region) == pytest.approx(28.1308, abs=1e-3)


def test_background_ssim_falls_with_noise() -> None:
    rng = np.random.default_rng(0)
    ramp = np.tile(np.linspace(0, 255, SIZE), (SIZE, 1))[..., None].repeat(3, axis=2)
    values = []
    for scale in (2.0, 20.0, 80.0):
        noisy = np.clip(ramp + rng.normal(0, scale, ramp.shape), 0, 255)
        values.append(metrics.background_ssim([ramp, noisy], _box(0, 0, 4)))
    assert 1.0 > values[0] > values[1] > values[2]


def test_clip_sim_dir_compares_the_two_changes() -> None:
    east, north = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert metrics.clip_sim_dir([east, north], [east, north]) == pytest.approx(1.0)
    assert metrics.clip_sim_dir([east, north], [north, east]) == pytest.approx(-1.0)


def test_clip_sim_dir_of_identical_images_is_zero_not_nan() -> None:
    east, north = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert metrics.clip_sim_dir([east, east], [east, north]) == 0.0


def test_alignment_is_a_hundred_times_the_mean_cosine() -> None:
    assert metrics.alignment([0.2, 0.3]) == pytest.approx(25.0)


@pytest.mark.parametrize("seed", range(5))
def test_every_pair_metric_is_symmetric(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = _images(seed)
    masks = rng.random((2, SIZE, SIZE)) < 0.2
    images, texts = rng.standard_normal((2, 2, 7))
    one = metrics.score_pair(
        (first, second), (masks[0], masks[1]), (images[0], images[1]), (texts[0], texts[1])
    )
    other = metrics.score_pair(
        (second, first), (masks[1], masks[0]), (images[1], images[0]), (texts[1], texts[0])
    )
    assert (one.clip_sim_0, one.clip_sim_1) == (other.clip_sim_1, other.clip_sim_0)
    for name in vars(one).keys() - {"clip_sim_0", "clip_sim_1"}:
        assert getattr(one, name) == pytest.approx(getattr(other, name)), name


@pytest.mark.parametrize("seed", range(5))
def test_background_similarity_grows_worse_with_the_difference(seed: int) -> None:
    first, second = _images(seed)
    nearer = (0.5 * first + 0.5 * second).astype(np.uint8)
    region = _box(2, 2, 10)
    far = metrics.background_similarity([first, second], region)
    assert far < metrics.background_similarity([first, nearer], region) < 0.0


def test_identical_images_score_perfectly_but_show_no_pixel_difference() -> None:
    image = _images(1)[0]
    scores = metrics.score_pair(
        (image, image),
        (_box(0, 0, 8), _box(0, 0, 8)),
        (np.ones(3), np.ones(3)),
        (np.eye(3)[0],) * 2,
    )
    assert scores.background_similarity == 0.0
    assert scores.pixel_mse == 0.0
    assert scores.clip_sim_image == pytest.approx(1.0)


def test_empty_masks_count_the_whole_image_as_background() -> None:
    first, second = _images(2)
    empty = np.zeros((SIZE, SIZE), dtype=bool)
    scores = metrics.score_pair(
        (first, second), (empty, empty), (np.ones(3),) * 2, (np.ones(3),) * 2
    )
    assert scores.joint_entity_fraction == 0.0
    assert scores.background_similarity == pytest.approx(-scores.pixel_mse / 100)


def test_whole_image_masks_cannot_be_gamed() -> None:
    first, second = _images(3)
    full = np.ones((SIZE, SIZE), dtype=bool)
    scores = metrics.score_pair((first, second), (full, full), (np.ones(3),) * 2, (np.ones(3),) * 2)
    assert scores.validity_ratio == 0.0
    assert scores.background_similarity == -math.inf
    assert scores.combined == -math.inf
    assert (scores.background_psnr, scores.background_ssim) == (0.0, -1.0)


def test_where_nothing_is_clear_of_the_masks_what_is_outside_them_counts() -> None:
    first, second = _images(4)
    stripes = np.zeros((SIZE, SIZE), dtype=bool)
    stripes[::3] = True
    scores = metrics.score_pair(
        (first, second), (stripes, stripes), (np.ones(3),) * 2, (np.ones(3),) * 2
    )
    assert math.isfinite(scores.background_similarity)
    assert scores.background_similarity_clear == scores.background_similarity


def test_an_almost_full_mask_does_not_help_similarity() -> None:
    first = np.full((SIZE, SIZE, 3), 100, dtype=np.uint8)
    almost = np.ones((SIZE, SIZE), dtype=bool)
    almost[0, 0] = False
    assert metrics.background_similarity([first, first + 20], almost) == pytest.approx(-4.0)


def test_images_of_different_sizes_are_refused_with_both_shapes() -> None:
    small = np.zeros((16, 16, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"\(16, 16, 3\).*\(32, 32, 3\)"):
        metrics.pixel_mse([small, _images(0)[0]])


def test_a_region_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="one size"):
        metrics.background_similarity(_images(0), np.zeros((16, 16), dtype=bool))
