"""CLIP sees whole images, square ones as ever, and remembers so many texts and no more."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from coupled_core.errors import ModelUnavailableError
from coupled_core.miniature import miniature_folder
from coupled_core.scoring.clip import ClipScorer, load_clip
from coupled_core.scoring.clip_texts import load_tokenizer
from coupled_core.scoring.clip_windows import WindowCutter
from coupled_core.scoring.content_filter import cut_squares

RED, BLUE = (220, 20, 20), (20, 20, 220)


@pytest.fixture(scope="module")
def clip() -> ClipScorer:
    return load_clip("miniature", "cpu")


def _draw_at_the_side(colour: tuple[int, int, int] | None, *, is_tall: bool = False) -> np.ndarray:
    image = np.full((64, 192, 3), 120, np.uint8)
    image[40:] = (60, 160, 60)
    if colour:
        image[20:40, 4:24] = colour
    return np.ascontiguousarray(image.transpose(1, 0, 2)) if is_tall else image


@pytest.mark.parametrize("is_tall", [False, True])
def test_what_stands_at_the_side_of_an_image_counts(clip: ClipScorer, is_tall: bool) -> None:
    images = [_draw_at_the_side(colour, is_tall=is_tall) for colour in (RED, BLUE, None)]
    seen = clip.embed_images(images)
    assert seen[0] @ seen[1] < 0.99
    assert seen[0] @ seen[2] < 0.99
    cropped = clip.embed_images(images, centre_only=True)
    np.testing.assert_array_equal(cropped[0], cropped[1])


@pytest.mark.parametrize("side_px", [64, 40, 200])
def test_square_images_are_embedded_as_the_model_was_published(
    clip: ClipScorer, side_px: int
) -> None:
    rng = np.random.default_rng(side_px)
    images = rng.integers(0, 256, (3, side_px, side_px, 3), dtype=np.uint8)
    whole, published = clip._preprocess_whole, clip._preprocess_centre
    for image in images:
        pixels = Image.fromarray(image)
        assert torch.equal(whole(pixels), published(pixels))
    np.testing.assert_array_equal(
        clip.embed_images(images), clip.embed_images(images, centre_only=True)
    )


def test_texts_are_forgotten_when_there_are_many_and_come_out_the_same(clip: ClipScorer) -> None:
    small = ClipScorer(
        clip._model,
        (clip._preprocess_whole, clip._preprocess_centre),
        clip._tokenizer,
        "cpu",
        max_remembered=2,
    )
    texts = [f"a {colour} kite" for colour in ("red", "blue", "green", "white")]
    np.testing.assert_allclose(small.embed_texts(texts), clip.embed_texts(texts), atol=1e-6)
    assert list(small._texts) == ["a red kite", "a white kite"]
    small.embed_texts(["a red kite"])
    small.embed_texts(["a blue kite"])
    assert list(small._texts) == ["a red kite", "a blue kite"]


@pytest.mark.parametrize("size", [(64, 192), (576, 1024), (1024, 576), (64, 65), (64, 128)])
def test_squares_show_every_part_of_an_image(size: tuple[int, int]) -> None:
    places = np.arange(size[0] * size[1], dtype=np.int64).reshape(size)
    squares = cut_squares(places)
    assert {square.shape for square in squares} == {(min(size), min(size))}
    assert set(np.concatenate([square.ravel() for square in squares])) == set(places.ravel())
    assert cut_squares(places[: min(size), : min(size)]) == []


def test_a_folder_without_its_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(miniature_folder("clip"), tmp_path / "clip")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelUnavailableError, match=r"tokenizer does not fit|could not be loaded"):
        load_clip(f"local-dir:{folder}", "cpu")


LONG = "In a green meadow at noon under a wide blue sky with soft clouds and tall grass " * 2


def test_a_text_longer_than_a_window_is_read_to_its_end(clip: ClipScorer) -> None:
    kite, car = clip.embed_texts([f"{LONG} a red kite", f"{LONG} a blue car"])
    assert kite @ car < 0.95
    assert np.linalg.norm(kite) == pytest.approx(1.0, abs=1e-5)
    ahead, behind = clip.embed_texts([f"a red kite. {LONG}", f"{LONG} a red kite."])
    assert ahead @ behind > kite @ car


def test_texts_that_fit_are_embedded_as_they_always_were(clip: ClipScorer) -> None:
    texts = sorted(["a red kite", "a blue car in a meadow", "at noon"])
    clip._texts.clear()
    with torch.no_grad():
        expected = clip._model.encode_text(clip._tokenizer(texts), normalize=True)
    np.testing.assert_array_equal(clip.embed_texts(texts), expected.float().numpy())


@pytest.mark.parametrize("name", ["miniature", "ViT-B-32:openai"])
def test_windows_are_laid_out_as_the_tokenizer_lays_out_short_texts(name: str) -> None:
    tokenizer = load_tokenizer(name)
    windows = WindowCutter(tokenizer).cut([LONG * 3, "a red kite"])
    assert list(windows) == [LONG * 3]
    found = windows[LONG * 3]
    assert torch.equal(found.tokens[0], tokenizer([LONG * 3])[0])
    assert float(found.weights.sum()) == pytest.approx(1.0)
    alone = WindowCutter(tokenizer)
    (reading,) = alone._reader.read(["a red kite"])
    laid_out = alone._lay_out(torch.tensor(reading.tokens))
    assert torch.equal(laid_out, tokenizer(["a red kite"])[0])
