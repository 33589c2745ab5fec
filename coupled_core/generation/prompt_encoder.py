"""Runs prompts through a model's text encoders, each of them once."""

from collections import OrderedDict
from collections.abc import Sequence

import torch

from coupled_core.generation.families.family import Family, TextEmbedding


class PromptEncoder:
    """A model's text encoders with a memory of recent prompts."""

    def __init__(self, family: Family, max_sequence_length: int, max_remembered: int = 256) -> None:
        self._family = family
        self._max_sequence_length = max_sequence_length
        self._max_remembered = max_remembered
        self._remembered: OrderedDict[str, TextEmbedding] = OrderedDict()
        self.num_encoded = 0
        """Prompts that went through the text encoders so far."""

    def encode(self, prompts: Sequence[str]) -> list[TextEmbedding]:
        """Return the embeddings in order, on the CPU: 4 MB a prompt of FLUX.1-dev."""
        return [self._encode_one(prompt) for prompt in prompts]

    def _encode_one(self, prompt: str) -> TextEmbedding:
        if prompt in self._remembered:
            self._remembered.move_to_end(prompt)
            return self._remembered[prompt]
        # One at a time: a batch would let the rounding of one prompt depend on its neighbours, and
        # encoding is a thousandth of the time of denoising.
        with torch.no_grad():
            embedding = self._family.encode(prompt, self._max_sequence_length)
        self.num_encoded += 1
        self._remembered[prompt] = embedding
        if len(self._remembered) > self._max_remembered:
            self._remembered.popitem(last=False)
        return embedding
