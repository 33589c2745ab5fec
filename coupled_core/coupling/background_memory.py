"""Lets the images of a group look at their common background instead of computing it again.

The background is one row of the batch that reads the background text alone. While it goes through
the transformer, every block's keys and values of its image tokens are kept; then the images go
through with the tokens of their region only, and attend to the kept ones in place of those they
left out. Outside the region, each block of each image thus sees exactly the background's tokens:
weight 0 of the entity text, in space.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from diffusers import FluxTransformer2DModel
from torch import Tensor, cat

from coupled_core.coupling.processors import (
    CoupledProcessor,
    LogBiasDoubleProcessor,
    StockProcessor,
    TwoBranchSingleProcessor,
)
from coupled_core.coupling.weighted_attention import TextLayout

BackgroundMemory = dict[str, tuple[Tensor, Tensor]]
"""Keys and values of the background's image tokens by block, (1, heads, S_img, head_dim) each.

At 1024 x 1024, FLUX.1's 57 blocks keep 2.9 GB of bfloat16.
"""


class _RememberingProcessor(StockProcessor):
    def __init__(self, memory: BackgroundMemory, name: str, num_text_tokens: int) -> None:
        self._memory, self._name, self._num_text_tokens = memory, name, num_text_tokens

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, beta: Tensor | None, layout: TextLayout
    ) -> Tensor:
        image = slice(self._num_text_tokens, None)
        self._memory[self._name] = (key[:, :, image], value[:, :, image])
        return super().attend(query, key, value, beta, layout)


class _RecallingProcessor(CoupledProcessor):
    needs_beta = False

    def __init__(self, inner: CoupledProcessor, key: Tensor, value: Tensor) -> None:
        self._inner, self._key, self._value = inner, key, value

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, beta: Tensor | None, layout: TextLayout
    ) -> Tensor:
        rows = (len(key), -1, -1, -1)
        # Behind the row's own image tokens: whoever splits the keys takes both for image keys.
        key = cat([key, self._key.expand(rows)], dim=2)
        value = cat([value, self._value.expand(rows)], dim=2)
        return self._inner.attend(query, key, value, beta, layout)


@contextmanager
def remember_background(
    transformer: FluxTransformer2DModel, num_text_tokens: int
) -> Iterator[BackgroundMemory]:
    """Yield a memory that a stock call of one row fills; the processors always come back."""
    memory: BackgroundMemory = {}
    originals = transformer.attn_processors
    try:
        transformer.set_attn_processor(
            {name: _RememberingProcessor(memory, name, num_text_tokens) for name in originals}
        )
        yield memory
    finally:
        transformer.set_attn_processor(dict(originals))


@contextmanager
def recall_background(
    transformer: FluxTransformer2DModel,
    memory: BackgroundMemory,
    outside: Tensor,
    *,
    is_coupled: bool,
) -> Iterator[None]:
    """Let calls with the region's image tokens see the background's tokens elsewhere.

    Args:
        transformer: the model that filled the memory, at the same noise level.
        memory: of the group's background.
        outside: indices of the image tokens that the calls leave out, (S_outside,).
        is_coupled: whether calls carry two texts and beta; else one text.
    """
    originals = transformer.attn_processors
    try:
        transformer.set_attn_processor(
            {
                name: _RecallingProcessor(
                    _inner_processor(name, is_coupled=is_coupled),
                    *(rows.index_select(2, outside) for rows in memory[name]),
                )
                for name in originals
            }
        )
        yield
    finally:
        transformer.set_attn_processor(dict(originals))


def _inner_processor(name: str, *, is_coupled: bool) -> CoupledProcessor:
    if not is_coupled:
        return StockProcessor()
    return TwoBranchSingleProcessor() if name.startswith("single_") else LogBiasDoubleProcessor()
