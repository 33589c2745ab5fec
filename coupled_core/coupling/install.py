"""Puts the coupling into a FLUX transformer for the length of a `with` block."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from diffusers import FluxTransformer2DModel
from torch import Tensor

from coupled_core.config import CouplingMode
from coupled_core.coupling.processors import (
    CoupledProcessor,
    KeyScaleDoubleProcessor,
    LogBiasDoubleProcessor,
    TwoBranchSingleProcessor,
)

_DOUBLE_PROCESSORS: dict[CouplingMode, type[CoupledProcessor]] = {
    "log_bias": LogBiasDoubleProcessor,
    "key_scale": KeyScaleDoubleProcessor,
    "region": LogBiasDoubleProcessor,  # inside the region; there is no text to weigh outside
}


@contextmanager
def coupled_attention(transformer: FluxTransformer2DModel, mode: CouplingMode) -> Iterator[None]:
    """Run the transformer with coupled attention; the processors it had come back whatever happens.

    Inside, every call needs `joint_attention_kwargs=coupling_kwargs(...)` and, as text, background
    and entity embeddings one after the other.
    """
    originals = transformer.attn_processors
    coupled = {
        name: (
            TwoBranchSingleProcessor() if name.startswith("single_") else _DOUBLE_PROCESSORS[mode]()
        )
        for name in originals
    }
    try:
        transformer.set_attn_processor(coupled)
        yield
    finally:
        transformer.set_attn_processor(dict(originals))


def attention_of(
    transformer: FluxTransformer2DModel, mode: CouplingMode, *, is_coupled: bool
) -> AbstractContextManager[None]:
    """Return `coupled_attention`, or nothing to enter where the call carries one text alone."""
    return coupled_attention(transformer, mode) if is_coupled else nullcontext()


def coupling_kwargs(
    beta: Tensor, num_background_tokens: int, num_entity_tokens: int
) -> dict[str, Any]:
    """Return `joint_attention_kwargs` for one call.

    Args:
        beta: weight of the entity text in [0, 1]: 0-d, or one a row of the batch, (B,).
        num_background_tokens: rows of the text stream with the background text; they come first.
        num_entity_tokens: rows that hold the entity text; they follow.
    """
    return {
        "beta": beta,
        "num_background_tokens": num_background_tokens,
        "num_entity_tokens": num_entity_tokens,
    }
