"""Entities of stock images on the background prompt's image: nothing else is in it."""

from collections.abc import Mapping

import numpy as np

from coupled_core.research.methods.cut_and_paste import CutAndPaste
from coupled_core.research.methods.method import Method
from tests.unit.generation.tiny_pipeline import build_sample
from tests.unit.research.methods.small_methods import run_sample, with_prompts


def test_every_pixel_is_the_stock_images_inside_the_mask_and_else_the_backgrounds(
    methods: Mapping[str, Method],
) -> None:
    method, sample = methods["cut-and-paste"], build_sample(2, 3)
    assert isinstance(method, CutAndPaste)
    stock = run_sample(methods["random-seed"], sample)
    place = sample.split.background_prompt
    (background, _) = run_sample(methods["random-seed"], with_prompts(sample, place, place))
    pasted = run_sample(method, sample)
    for image, own, entity in zip(pasted, stock, sample.split.entity_prompts, strict=True):
        found = method.model.finder.find(own.astype(np.uint8), entity, place).mask
        expected = np.where(found[..., None], own, background)
        assert np.abs(image - expected).max() <= 1
