"""Embeds images and texts with any open_clip model, and folds embeddings into 64 bytes."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from coupled_core.errors import ModelUnavailableError
from coupled_core.scoring.model_files import find_clip

CODE_LENGTH = 64
"""Bytes of a code. Other codes do not compare: a change here raises `METRIC_VERSION`."""


def encode_embeddings(embeddings: NDArray[np.float32]) -> list[str]:
    """Return the code of each embedding (B, D): signed bytes as 128 hex digits."""
    count, length = embeddings.shape
    width = -(-length // CODE_LENGTH) * CODE_LENGTH
    # Random signs make what is folded onto one place cancel out on average, so cosines survive.
    signed = np.zeros((count, width))
    signed[:, :length] = embeddings * _signs(length)
    folded = signed.reshape(count, -1, CODE_LENGTH).sum(axis=1)
    largest = np.abs(folded).max(axis=1, keepdims=True)
    bytes_ = np.rint(127 * folded / np.where(largest > 0, largest, 1)).astype(np.int8)
    return [row.tobytes().hex() for row in bytes_]


def _signs(length: int) -> NDArray[np.float64]:
    """Return +1 and -1, the same on every machine and with every version of NumPy."""
    digest = hashlib.shake_256(b"clip code").digest(-(-length // 8))
    bits = np.unpackbits(np.frombuffer(digest, np.uint8))[:length]
    return np.where(bits == 0, 1.0, -1.0)


_MAX_BATCH = 64


class ClipScorer:
    """One CLIP model with its preprocessing and tokenizer; texts are embedded once each."""

    def __init__(
        self,
        model: nn.Module,
        preprocess: Callable[[Image.Image], Tensor],
        tokenizer: Callable[[list[str]], Tensor],
        device: str,
    ) -> None:
        self._model, self._preprocess = model.eval().to(device), preprocess
        self._tokenizer = tokenizer
        self._device = device
        self._texts: dict[str, np.ndarray] = {}

    @torch.no_grad()
    def embed_images(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Return unit embeddings, float32 (B, D), of uint8 RGB images (H, W, 3) of any sizes."""
        pixels = torch.stack([self._preprocess(Image.fromarray(image)) for image in images])
        parts = [
            self._model.encode_image(chunk.to(self._device), normalize=True).float().cpu()  # type: ignore[operator]
            for chunk in torch.split(pixels, _MAX_BATCH)
        ]
        return torch.cat(parts).numpy()

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit embeddings, float32 (B, D)."""
        new = sorted({text for text in texts if text not in self._texts})
        if new:
            tokens = self._tokenizer(new).to(self._device)
            embedded = self._model.encode_text(tokens, normalize=True).float().cpu().numpy()  # type: ignore[operator]
            self._texts.update(zip(new, embedded, strict=True))
        return np.stack([self._texts[text] for text in texts])


def load_clip(spec: str, device: str) -> ClipScorer:
    """Load a model.

    Args:
        spec: as `find_clip` takes it.
        device: where it computes, as torch names it.

    Raises:
        ModelUnavailableError: unknown name, or the weights are neither here nor to be had.
    """
    import open_clip  # ten seconds, for which codes of embeddings need not wait

    name, pretrained = find_clip(spec)
    try:
        model, _, preprocess = open_clip.create_model_and_transforms(name, pretrained=pretrained)
        tokenizer = open_clip.get_tokenizer(name)
    except (RuntimeError, OSError, ValueError) as exc:
        raise ModelUnavailableError(
            f"CLIP model {spec!r} could not be loaded ({str(exc).splitlines()[0]}): check the name "
            "against open_clip.list_pretrained(), or give a downloaded folder as local-dir:FOLDER"
        ) from exc
    return ClipScorer(model, preprocess, tokenizer, device)
