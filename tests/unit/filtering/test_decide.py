"""The filter: the threshold, each guard alone, their order, and scores that are not numbers."""

import math
from dataclasses import replace

import numpy as np
import pytest

from coupled_core.config import FilterConfig
from coupled_core.filtering.decide import decide, explain
from coupled_core.filters import MIN_COMBINED
from coupled_core.records import EntityMask, PairScores

CONFIG = FilterConfig(min_combined=MIN_COMBINED.default)
GOOD = PairScores(
    joint_entity_fraction=0.2,
    validity_ratio=0.8,
    background_similarity=-2.0,
    clip_sim_0=0.25,
    clip_sim_1=0.25,
    alignment=25.0,
    combined=1.68,
    clip_sim_image=0.8,
    clip_sim_dir=0.3,
    background_psnr=25.0,
    background_ssim=0.9,
    pixel_mse=300.0,
    equal_fraction=0.5,
    background_similarity_clear=-0.5,
    rim_seam=0.2,
)


def _mask(fraction: float) -> EntityMask:
    mask = np.zeros((100, 100), dtype=bool)
    mask.flat[: round(fraction * mask.size)] = True
    return EntityMask(mask, predicted_iou=0.9, touches_border=False)


MASKS = (_mask(0.1), _mask(0.1))


def test_a_good_pair_is_kept() -> None:
    decision = decide(GOOD, MASKS, CONFIG)
    assert decision.kept
    assert decision.reject_reasons == ()


def test_the_threshold_itself_is_kept() -> None:
    assert decide(replace(GOOD, combined=CONFIG.min_combined), MASKS, CONFIG).kept


def test_a_low_combined_metric_is_dropped_and_explained_with_both_values() -> None:
    scores = replace(GOOD, combined=0.9)
    assert decide(scores, MASKS, CONFIG).reject_reasons == ("below_min_combined",)
    ((_, sentence),) = explain(scores, MASKS, CONFIG)
    assert "0.900" in sentence
    assert "min_combined 1" in sentence


@pytest.mark.parametrize("masks", [(_mask(0.0), _mask(0.1)), (_mask(0.1), _mask(0.0015))])
def test_an_empty_or_tiny_mask_is_dropped(masks: tuple[EntityMask, EntityMask]) -> None:
    assert decide(GOOD, masks, CONFIG).reject_reasons == ("empty_mask",)


def test_an_empty_mask_is_dropped_even_where_the_minimum_is_zero() -> None:
    config = FilterConfig(min_mask_fraction=0.0)
    assert decide(GOOD, (_mask(0.0), _mask(0.1)), config).reject_reasons == ("empty_mask",)


def test_a_mask_over_most_of_the_image_is_dropped() -> None:
    reasons = decide(GOOD, (_mask(0.1), _mask(0.6)), CONFIG).reject_reasons
    assert reasons == ("mask_too_large",)


def test_two_allowed_masks_with_a_huge_joint_region_are_dropped() -> None:
    scores = replace(GOOD, joint_entity_fraction=0.7)
    reasons = decide(scores, (_mask(0.4), _mask(0.4)), CONFIG).reject_reasons
    assert reasons == ("mask_too_large",)


def test_near_identical_images_are_dropped() -> None:
    reasons = decide(replace(GOOD, pixel_mse=0.5), MASKS, CONFIG).reject_reasons
    assert reasons == ("near_identical",)


def test_all_reasons_come_in_the_order_of_the_fixed_list() -> None:
    scores = replace(GOOD, combined=-3.0, pixel_mse=0.0, joint_entity_fraction=0.9)
    reasons = decide(scores, (_mask(0.9), _mask(0.0)), CONFIG).reject_reasons
    assert reasons == (
        "below_min_combined",
        "empty_mask",
        "mask_too_large",
        "near_identical",
    )


@pytest.mark.parametrize("value", [math.nan, -math.inf, math.inf])
@pytest.mark.parametrize("name", ["combined", "clip_sim_dir", "background_similarity"])
def test_a_score_that_is_not_finite_never_keeps_a_pair(name: str, value: float) -> None:
    scores = replace(GOOD, **{name: value})
    assert decide(scores, MASKS, CONFIG).reject_reasons == ("below_min_combined",)
    assert name in explain(scores, MASKS, CONFIG)[0][1]


def test_a_pixel_difference_that_is_not_a_number_proves_no_difference() -> None:
    reasons = decide(replace(GOOD, pixel_mse=math.nan), MASKS, CONFIG).reject_reasons
    assert "near_identical" in reasons
