"""How often text encoders are needed, where they have to be loaded for it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from coupled_core.generation.families.family import TextEmbedding
from coupled_core.generation.prompt_encoder import PromptEncoder

TEXTS = [f"prompt {i}" for i in range(700)]
BATCH = 24


class _Letters:
    """Reads a text as its last letter."""

    def encode(self, prompt: str, max_sequence_length: int) -> TextEmbedding:
        return TextEmbedding(torch.tensor([[float(ord(prompt[-1]))]]))


def _build() -> tuple[PromptEncoder, list[int]]:
    """Return an encoder, and how much it has read each time that text encoders were loaded."""
    loads: list[int] = []

    @contextmanager
    def reading() -> Iterator[None]:
        before = encoder.num_encoded
        yield
        loads.append(encoder.num_encoded - before)

    family: Any = _Letters()
    encoder = PromptEncoder(family, 8, reading=reading)
    return encoder, loads


def _read_in_batches(encoder: PromptEncoder, texts: Sequence[str]) -> None:
    """Ask as a shard does, whose generator is told what is to come before each batch."""
    for start in range(0, len(texts), BATCH):
        encoder.read_ahead(texts[start:])
        batch = texts[start : start + BATCH]
        read = [float(each.prompt_embeds) for each in encoder.encode(batch)]
        assert read == [float(ord(text[-1])) for text in batch]


def test_a_shard_longer_than_what_is_remembered_is_read_in_a_few_goes() -> None:
    encoder, loads = _build()
    _read_in_batches(encoder, TEXTS)
    assert len(loads) == 3
    assert sum(loads) == len(TEXTS)
    assert loads[0] == 256


def test_backgrounds_that_come_again_cost_no_reading_for_each_batch() -> None:
    texts = [f"background {i // 2 % 300}" if i % 2 else text for i, text in enumerate(TEXTS)]
    encoder, loads = _build()
    _read_in_batches(encoder, texts)
    assert len(loads) == 3
    assert sum(loads) <= len(texts)


def test_what_was_not_announced_is_read_when_it_is_asked_for() -> None:
    encoder, loads = _build()
    encoder.read_ahead(TEXTS[:4])
    encoder.encode(["another one", TEXTS[0]])
    assert loads == [4, 1]


def test_a_reading_that_failed_leaves_what_is_to_come_to_the_next() -> None:
    class Failing(_Letters):
        def encode(self, prompt: str, max_sequence_length: int) -> TextEmbedding:
            if prompt == TEXTS[2] and not failed:
                failed.append(prompt)
                raise OSError("the drive is gone")
            return super().encode(prompt, max_sequence_length)

    failed: list[str] = []
    encoder, loads = _build()
    encoder._family = Failing()  # type: ignore[assignment]
    with pytest.raises(OSError, match="gone"):
        encoder.read_ahead(TEXTS[:5])
    encoder.encode(TEXTS[:1])
    assert loads == [5]
