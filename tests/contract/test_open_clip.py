import numpy as np
import pytest

from coupled_core.errors import ModelUnavailableError
from coupled_core.scoring.clip import load_clip


def test_the_miniature_is_an_open_clip_folder_with_unit_embeddings():
    clip = load_clip("miniature", "cpu")
    images = clip.embed_images(
        [np.zeros((64, 64, 3), np.uint8), np.full((20, 31, 3), 200, np.uint8)]
    )
    texts = clip.embed_texts(["a red kite", "a meadow at noon", "a red kite"])
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(texts[0], texts[2])
    assert images.shape[1] == texts.shape[1]


def test_texts_longer_than_the_context_are_cut_not_refused():
    assert load_clip("miniature", "cpu").embed_texts(["a red kite " * 100]).shape[0] == 1


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("ViT-B-32", "names no weights"),
        ("no-such-model:openai", "could not be loaded"),
        ("local-dir:nowhere", "no such folder"),
    ],
)
def test_a_model_that_is_not_there_says_what_to_give(spec, message):
    with pytest.raises(ModelUnavailableError, match=message):
        load_clip(spec, "cpu")
