"""One pair without a dataset: from settings, from a pipeline of one's own, from finished images."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxImg2ImgPipeline, FluxPipeline
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor
from PIL import Image

from coupled_core.errors import ConfigError, CoupledError
from coupled_core.miniature import miniature_folder
from coupled_core.runs.pair import MadePair, make_pair, score_images

PROMPTS = ("A red kite flies over a beach at noon", "A blue balloon floats over a beach at noon")
FAST: dict[str, Any] = {"num_inference_steps": 3, "seed": 7}


@pytest.fixture(scope="module")
def pipeline() -> FluxPipeline:
    """The miniature, loaded as a caller would, with a processor of the caller's on every block."""
    folder = str(miniature_folder("flux"))
    pipeline = FluxPipeline.from_pretrained(folder, dtype=torch.float32)
    names = pipeline.transformer.attn_processors
    pipeline.transformer.set_attn_processor({name: FluxAttnProcessor() for name in names})
    return pipeline


@pytest.fixture(scope="module")
def scored() -> MadePair:
    return make_pair(*PROMPTS, score=True, **FAST)


def _pixels(pair: MadePair) -> np.ndarray:
    return np.stack([np.asarray(image) for image in pair.images])


def test_equal_settings_give_equal_pixels_and_another_seed_others(scored: MadePair) -> None:
    assert (_pixels(make_pair(*PROMPTS, **FAST)) == _pixels(scored)).all()
    assert (_pixels(make_pair(*PROMPTS, **{**FAST, "seed": 8})) != _pixels(scored)).any()


@pytest.mark.parametrize("mode", ["region", "log_bias", "key_scale"])
def test_a_loaded_pipeline_gives_the_pixels_of_its_model_and_keeps_its_processors(
    pipeline: FluxPipeline, mode: str
) -> None:
    before = pipeline.transformer.attn_processors
    made = make_pair(*PROMPTS, pipeline=pipeline, coupling_mode=mode, **FAST)
    assert (_pixels(made) == _pixels(make_pair(*PROMPTS, coupling_mode=mode, **FAST))).all()
    after = pipeline.transformer.attn_processors
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)


def test_a_pipeline_that_fails_on_the_way_keeps_its_processors(
    pipeline: FluxPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pipeline.transformer.attn_processors

    def fail(*_: object, **__: object) -> None:
        assert pipeline.transformer.attn_processors != before, "it fails while they are exchanged"
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(pipeline.transformer.norm_out, "forward", fail)
    with pytest.raises(RuntimeError, match="the device is gone"):
        make_pair(*PROMPTS, pipeline=pipeline, coupling_mode="key_scale", **FAST)
    after = pipeline.transformer.attn_processors
    assert all(after[name] is before[name] for name in before)


def test_a_pair_of_a_loaded_pipeline_is_scored_as_any_other(
    pipeline: FluxPipeline, scored: MadePair
) -> None:
    made = make_pair(*PROMPTS, pipeline=pipeline, score=True, **FAST)
    assert (made.scores, made.decision) == (scored.scores, scored.decision)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"device": "cpu", "dtype": "float32"}, "device, dtype: these take effect when a pipeline"),
        ({"offload": "model"}, "offload: these take effect"),
        ({"width": 70}, "width must be a multiple of"),
    ],
)
def test_settings_that_come_too_late_for_a_loaded_pipeline_are_refused(
    pipeline: FluxPipeline, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        make_pair(*PROMPTS, pipeline=pipeline, **settings)


def test_a_pipeline_of_another_class_is_refused(pipeline: FluxPipeline) -> None:
    other = FluxImg2ImgPipeline.from_pipe(pipeline)
    with pytest.raises(
        ConfigError, match=r"expected one of FLUX.1 \(FluxPipeline\), .* got a FluxImg2ImgPipeline"
    ):
        make_pair(*PROMPTS, pipeline=other)


def test_a_given_split_is_taken_as_it_is() -> None:
    given = {"background": "A beach at noon.", "entities": ("A kite.", "A balloon.")}
    split = make_pair("A kite there", "Some balloon here", **given, **FAST).split
    assert (split.background_prompt, split.entity_prompts) == tuple(given.values())
    assert split.source == "given"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"background": "a beach"}, "background and entities go together"),
        ({"background": "a beach", "entities": ("a kite",)}, "got 1 entities, expected 2"),
    ],
)
def test_half_a_split_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_pair(*PROMPTS, **arguments)


def test_prompts_without_a_common_background_are_refused() -> None:
    with pytest.raises(CoupledError, match="cannot be split offline"):
        make_pair("A red kite", "Two boats under the moon")


def test_images_score_as_they_did_when_they_were_made(scored: MadePair) -> None:
    words: dict[str, Any] = {
        "prompts": PROMPTS,
        "entities": scored.split.entity_prompts,
        "background": scored.split.background_prompt,
    }
    assert scored.masks is not None
    for images in (scored.images, tuple(map(np.asarray, scored.images))):
        masks, scores = score_images(*images, **words)
        # What lay outside the region is known only while the images are made.
        made = replace(scored.scores, crop_evidence_0=None, crop_evidence_1=None)
        assert scores == made
        for mask, expected in zip(masks, scored.masks, strict=True):
            assert (mask.mask == expected.mask).all()


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (Image.new("RGB", (32, 64)), "images of one size, got 64 x 64 and 32 x 64 pixels"),
        (np.zeros((64, 64, 3)), r"image 1: expected uint8 of shape \(H, W, 3\), got float64"),
        (np.zeros((64, 64), np.uint8), r"got uint8 of \(64, 64\)"),
    ],
)
def test_images_that_do_not_compare_are_refused(
    second: Image.Image | np.ndarray, words: str
) -> None:
    first = Image.new("RGB", (64, 64))
    with pytest.raises(ConfigError, match=words):
        score_images(first, second, prompts=PROMPTS, entities=("a", "b"), background="c")
