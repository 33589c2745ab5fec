"""Runs prompts through a model's text encoders, each of them once."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice

import torch

from coupled_core.generation.families.family import Family, TextEmbedding


class PromptEncoder:
    """A model's text encoders with a memory of recent prompts."""

    def __init__(
        self,
        family: Family,
        max_sequence_length: int,
        max_remembered: int = 256,
        reading: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Begin without having read anything.

        Args:
            family: Its text encoders are used.
            max_sequence_length: Tokens.
            max_remembered: Prompts.
            reading: Entered while text encoders are needed, which may have to be loaded.
        """
        self._family, self._reading = family, reading
        self.is_always_ready = reading is nullcontext
        """Whether encoding asks for nothing to be loaded first."""
        self._max_sequence_length = max_sequence_length
        self._max_remembered = max_remembered
        self._remembered: OrderedDict[str, TextEmbedding] = OrderedDict()
        self._ahead: list[str] = []
        """What will be asked for next, in this order; as much as is remembered."""
        self.num_encoded = 0
        """Prompts that went through the text encoders so far."""

    def encode(self, prompts: Sequence[str]) -> list[TextEmbedding]:
        """Return the embeddings in order, on the CPU: 4 MB a prompt of FLUX.1-dev."""
        found = {each: self._remembered[each] for each in prompts if each in self._remembered}
        for prompt in found:
            self._remembered.move_to_end(prompt)
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in found]
        if new:
            try:
                with self._reading():
                    found |= {prompt: self._encode_one(prompt) for prompt in self._add_next(new)}
            except BaseException:
                # What takes the encoders' place may be missing now: whoever tries again has to
                # read, and not to find the texts here.
                self._remembered.clear()
                raise
        return [found[prompt] for prompt in prompts]

    def read_ahead(self, prompts: Iterable[str]) -> None:
        """Encode what will be asked for, in this order, as much at a time as is remembered.

        To be called before each batch with all that is still to come. Nothing is read as long as
        the batch is remembered, so text encoders are needed once for many batches.
        """
        self._ahead = list(islice(_without_repeats(prompts), self._max_remembered))
        self.encode(self._ahead[:1])

    def _add_next(self, new: Sequence[str]) -> list[str]:
        """Return texts to read, and behind them those that come next, up to what is remembered."""
        wanted = islice(dict.fromkeys([*new, *self._ahead]), self._max_remembered)
        following = [prompt for prompt in wanted if prompt not in new]
        for prompt in following:
            if prompt in self._remembered:  # what nobody waits for is forgotten first
                self._remembered.move_to_end(prompt)
        return [*new, *(prompt for prompt in following if prompt not in self._remembered)]

    def _encode_one(self, prompt: str) -> TextEmbedding:
        # One at a time: a batch would let the rounding of one prompt depend on its neighbours, and
        # encoding is a thousandth of the time of denoising.
        with torch.no_grad():
            embedding = self._family.encode(prompt, self._max_sequence_length)
        self.num_encoded += 1
        self._remembered[prompt] = embedding
        if len(self._remembered) > self._max_remembered:
            self._remembered.popitem(last=False)
        return embedding


def _without_repeats(prompts: Iterable[str]) -> Iterator[str]:
    seen = set[str]()
    for prompt in prompts:
        if prompt not in seen:
            seen.add(prompt)
            yield prompt
