"""Embeds images and texts with any open_clip model."""

from collections.abc import Callable, Sequence

import numpy as np
import open_clip
import torch
from PIL import Image
from torch import Tensor, nn

from coupled_core.errors import ModelUnavailableError
from coupled_core.scoring.model_files import find_clip

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
        self._model, self._preprocess, self._tokenizer = (
            model.eval().to(device),
            preprocess,
            tokenizer,
        )
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
        spec: As `find_clip` takes it.
        device: Of torch.

    Raises:
        ModelUnavailableError: unknown name, or the weights are neither here nor to be had.
    """
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
