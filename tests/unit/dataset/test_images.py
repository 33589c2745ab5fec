"""Images come back as they went in, and alike images have alike hashes."""

import hashlib
import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from coupled_core.dataset.images import (
    ImageFormat,
    decode_image,
    decode_mask,
    encode_image,
    encode_mask,
    encode_weights,
    hamming_distance,
    perceptual_hash,
)


def _scene(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(random).resize((96, 96), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("image_format", ["png", "webp"])
def test_encoding_loses_nothing_and_repeats_itself(image_format: ImageFormat) -> None:
    image = _scene(0)
    image = np.dstack([image[..., 0], image[..., 1], np.zeros_like(image[..., 2])])
    encoded = encode_image(image, image_format)
    np.testing.assert_array_equal(decode_image(encoded.data), image)
    assert encode_image(image, image_format) == encoded
    assert encoded.sha256 == hashlib.sha256(encoded.data).hexdigest()


def test_weights_are_grey_and_0_only_where_they_are_exactly_0() -> None:
    weights = np.array([[0.0, 1e-6, 0.5, 1.0]], dtype=np.float32)
    levels = np.asarray(Image.open(io.BytesIO(encode_weights(weights))))
    assert levels.tolist() == [[0, 1, 128, 255]]


def test_a_mask_is_grey_with_0_and_255() -> None:
    mask = np.random.default_rng(0).random((16, 24)) > 0.5
    data = encode_mask(mask)
    np.testing.assert_array_equal(decode_mask(data), mask)
    assert data.startswith(b"\x89PNG")


def test_a_slightly_changed_image_is_a_near_duplicate_and_another_one_is_not() -> None:
    image = _scene(1)
    blurred = np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(1)))
    brighter = np.clip(image.astype(int) + 12, 0, 255).astype(np.uint8)
    reference = perceptual_hash(image)
    assert len(reference) == 16
    assert hamming_distance(reference, perceptual_hash(blurred)) <= 6
    assert hamming_distance(reference, perceptual_hash(brighter)) <= 6
    others = [hamming_distance(reference, perceptual_hash(_scene(seed))) for seed in range(2, 12)]
    assert min(others) > 12
