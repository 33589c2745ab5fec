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


@contextmanager
def coupled_attention(
    transformer: FluxTransformer2DModel, mode: CouplingMode, *, texts_meet: bool = True
) -> Iterator[None]:
    """Run the transformer with coupled attention; the processors it had come back whatever happens.

    Inside, every call needs `joint_attention_kwargs=coupling_kwargs(...)` and, as text, background
    and entity embeddings one after the other. `texts_meet`: see `coupling.ablation`.
    """
    originals = transformer.attn_processors
    coupled = {
        name: (
            TwoBranchSingleProcessor()
            if name.startswith("single_")
            else _double_processor(mode, texts_meet=texts_meet)
        )
        for name in originals
    }
    try:
        transformer.set_attn_processor(coupled)
        yield
    finally:
        transformer.set_attn_processor(dict(originals))


def attention_of(
    transformer: FluxTransformer2DModel,
    mode: CouplingMode,
    *,
    is_coupled: bool,
    texts_meet: bool = True,
) -> AbstractContextManager[None]:
    """Return `coupled_attention`, or nothing to enter where the call carries one text alone."""
    if not is_coupled:
        return nullcontext()
    return coupled_attention(transformer, mode, texts_meet=texts_meet)


def _double_processor(mode: CouplingMode, *, texts_meet: bool) -> CoupledProcessor:
    if mode == "key_scale":
        return KeyScaleDoubleProcessor()
    # In mode region, too: inside the region; outside there is no text to weigh.
    return LogBiasDoubleProcessor(texts_meet=texts_meet)


def coupling_kwargs(
    beta: Tensor,
    num_background_tokens: int,
    num_entity_tokens: int,
    single_beta: Tensor | None = None,
) -> dict[str, Any]:
    """Return `joint_attention_kwargs` for one call.

    Args:
        beta: weight of the entity text in [0, 1]: 0-d, or one a row of the batch, (B,).
        num_background_tokens: rows of the text stream with the background text; they come first.
        num_entity_tokens: rows that hold the entity text; they follow.
        single_beta: of single-stream blocks, where it differs.
    """
    kwargs = {"single_beta": single_beta} if single_beta is not None else {}
    return {
        "beta": beta,
        "num_background_tokens": num_background_tokens,
        "num_entity_tokens": num_entity_tokens,
        **kwargs,
    }
