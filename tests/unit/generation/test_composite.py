"""Outside their regions the images of a group are its background, to the last bit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from coupled_core.generation.composite import find_matte, lay_over, upsample_weights
from coupled_core.generation.generator import GroupGenerator, load_generator
from coupled_core.records import GeneratedSample, Sample
from coupled_core.schedules.schedule import RegionSettings, Schedule
from coupled_core.schedules.schedule_file import save_schedule
from tests.unit.generation.test_generator import build_config
from tests.unit.generation.tiny_pipeline import build_sample

SETTINGS = RegionSettings(size=0.05, margin=0.0, feather=0.0625, read_until=0.8)


@pytest.fixture(scope="module")
def schedule_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("schedules") / "region.json"
    save_schedule(
        Schedule("step", {"center": -0.1}, "region", "tiny", None, False, "", region=SETTINGS), path
    )
    return path


def wide(sample: Sample) -> Sample:
    return replace(sample, group=replace(sample.group, width=48, height=32))


def check_background(made: GeneratedSample) -> None:
    assert made.background is not None
    assert made.regions is not None
    assert made.region_fraction == pytest.approx((made.regions[0] > 0).mean())
    assert made.crop_evidence is not None and len(made.crop_evidence) == len(made.images)
    assert all(0.0 < value < 10.0 for value in made.crop_evidence)
    for image, region in zip(made.images, made.regions, strict=True):
        outside = region == 0
        assert 0.1 < outside.mean() < 1.0
        assert (image[outside] == made.background[outside]).all()
        assert (image[~outside] != made.background[~outside]).any()


@pytest.mark.parametrize(("dtype", "num_steps"), [("float32", 1), ("float32", 4), ("bfloat16", 4)])
def test_outside_its_region_every_image_of_a_group_is_the_background(
    model_folder: Path, schedule_file: Path, dtype: str, num_steps: int
) -> None:
    generator = load_generator(
        build_config(
            model_folder, dtype=dtype, schedule=str(schedule_file), num_inference_steps=num_steps
        )
    )
    samples = [build_sample(0, 2), build_sample(1, 3), wide(build_sample(2, 4))]
    for made in generator.generate(samples):
        assert isinstance(made, GeneratedSample)
        check_background(made)
    (alone,) = generator.generate([samples[1]])
    assert isinstance(alone, GeneratedSample)
    check_background(alone)


def test_while_beta_is_0_every_image_is_the_background(model_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "never.json"
    save_schedule(
        Schedule("step", {"center": 2.0}, "region", "tiny", None, False, "", region=SETTINGS), path
    )
    (made,) = load_generator(build_config(model_folder, schedule=str(path))).generate(
        [build_sample(0, 3)]
    )
    assert isinstance(made, GeneratedSample)
    assert all(np.array_equal(image, made.background) for image in made.images)


def test_other_modes_have_no_background_of_their_own(model_folder: Path) -> None:
    config = build_config(model_folder, coupling_mode="log_bias")
    (made,) = load_generator(config).generate([build_sample(0)])
    assert isinstance(made, GeneratedSample)
    assert made.background is None
    assert made.regions is None
    assert made.region_fraction is None and made.crop_evidence is None


def test_a_background_that_is_not_finite_rejects_the_sample(
    model_folder: Path, schedule_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator: GroupGenerator = load_generator(
        build_config(model_folder, schedule=str(schedule_file))
    )
    vae = generator._pipeline.vae
    decode = vae.decode

    def overflow(latents: torch.Tensor, **options: object) -> tuple[torch.Tensor]:
        (images,) = decode(latents, **options)
        images[2] = torch.inf  # two images, then their background
        return (images,)

    monkeypatch.setattr(vae, "decode", overflow)
    rejected, good = generator.generate([build_sample(0), build_sample(1)])
    assert "not finite" in getattr(rejected, "message", "")
    assert isinstance(good, GeneratedSample)


def test_weights_fall_between_the_centres_of_tokens_and_are_0_beyond_the_next() -> None:
    weights = torch.zeros(1, 3 * 5)
    weights[0, 7] = 1.0  # the middle token
    (pixels,) = upsample_weights(weights, (3, 5), width=20, height=12)
    assert pixels.shape == (12, 20)
    assert pixels[5:7, 9:11].min() > 0.7
    assert pixels[6, :6].max() == 0.0
    assert 0.0 < pixels[6, 7] < 0.5


def test_an_image_is_laid_over_by_shares_and_not_at_all_where_there_is_none() -> None:
    background, image = np.full((1, 3, 3), 10.0), np.full((1, 3, 3), 30.0)
    background[0, 0], image[0, 0] = 1e-3, 1e30
    laid = lay_over(image, background, np.array([[0.0, 0.25, 1.0]]))
    assert laid[0, :, 0].tolist() == [1e-3, 15.0, 30.0]


def draw_square(image: np.ndarray, top: int, left: int, side: int, level: float) -> None:
    image[top : top + side, left : left + side] += level


def test_a_matte_keeps_an_entity_whole_and_drops_tints_and_small_parts_elsewhere() -> None:
    background = np.full((64, 64, 3), 100.0)
    image = background + 4.0  # a tint that nobody sees
    draw_square(image, 20, 10, 20, 60.0)
    draw_square(image, 28, 18, 3, -60.0)  # a spot in the entity that is as the background
    draw_square(image, 5, 50, 4, 100.0)  # a second moon
    matte = find_matte(image, background, 18.0)
    assert matte[20:40, 10:30].min() > 0.9
    assert matte[:12, 40:].max() == 0.0
    assert matte[50:, :].max() == 0.0
    assert ((matte > 0) & (matte < 1)).any()  # a soft edge


def test_two_entities_of_like_weight_both_stay_in_a_frame_that_is_not_square() -> None:
    background = np.full((48, 96, 3), 100.0)
    image = background.copy()
    draw_square(image, 8, 8, 12, 60.0)
    draw_square(image, 30, 70, 12, -50.0)
    matte = find_matte(image, background, 18.0)
    assert matte[10:18, 10:18].min() == 1.0
    assert matte[32:40, 72:80].min() == 1.0
    assert matte[:, 40:60].max() == 0.0


def test_images_that_are_their_background_have_an_empty_matte() -> None:
    image = np.full((8, 8, 3), 7.0)
    assert find_matte(image, image, 18.0).max() == 0.0


def test_a_matte_gives_the_background_more_pixels_and_none_away(
    model_folder: Path, tmp_path: Path
) -> None:
    shown = []
    for matte in (0.0, 0.2):
        path = tmp_path / f"{matte}.json"
        region = replace(SETTINGS, matte=matte)
        save_schedule(
            Schedule("step", {"center": -0.1}, "region", "tiny", None, False, "", region=region),
            path,
        )
        (made,) = load_generator(build_config(model_folder, schedule=str(path))).generate(
            [build_sample(0, 2)]
        )
        assert isinstance(made, GeneratedSample)
        shown.append(np.stack([(image == made.background).all(axis=2) for image in made.images]))
    without, with_matte = shown
    assert with_matte.sum() > without.sum()
    assert with_matte[without].all()
