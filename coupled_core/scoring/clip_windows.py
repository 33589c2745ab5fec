"""The windows of texts that are too long for CLIP.

CLIP reads some 77 tokens and drops the rest without a word. A longer text is cut into windows
instead, and its embedding is the mean of theirs, each weighed by its tokens.
On captions of 53 tokens for the miniature's window of 32, that finds the right one of 16 in 73 %
[67, 79] of 240 renderings where the words that differ stand last, the beginning alone in 7 %
[5, 12], which is chance; where they stand first, in 77 % [71, 82] against 79 % [74, 84]. The more
of a text speaks of the background, the lower its cosine: .77 in place of .86 there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from coupled_core.scoring.clip_texts import Tokenizer, make_clip_reader


@dataclass(frozen=True)
class Windows:
    """A text that is longer than what CLIP reads at once."""

    tokens: Tensor
    """int64, (W, limit), each row laid out as the tokenizer lays out a short text."""
    weights: Tensor
    """float32, (W,), adding up to 1: the share of the text's tokens in each."""


class WindowCutter:
    """Cuts texts that are longer than what CLIP reads at once."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._reader = make_clip_reader(tokenizer, "CLIP")
        self._empty = tokenizer([""])[0]

    def cut(self, texts: Sequence[str]) -> dict[str, Windows]:
        """Return the windows of those texts that do not fit into one."""
        window = self._reader.window
        found = {}
        for text, reading in zip(texts, self._reader.read(texts), strict=True):
            if len(reading.tokens) > window:
                parts = torch.split(torch.tensor(reading.tokens), window)
                # Weighed by length: a last window of a word or two says little.
                weights = torch.tensor([len(part) for part in parts]) / len(reading.tokens)
                found[text] = Windows(torch.stack([self._lay_out(part) for part in parts]), weights)
        return found

    def _lay_out(self, tokens: Tensor) -> Tensor:
        num_marks = self._reader.num_marks
        start = num_marks // 2  # CLIP marks beginning and end, T5 and its kind the end alone
        end = start + len(tokens)
        # The empty text shows how a row is laid out: marks in front, marks behind, then padding.
        row = self._empty.clone()
        row[start:end] = tokens
        row[end : end + num_marks - start] = self._empty[start:num_marks]
        return row
