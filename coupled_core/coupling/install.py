"""Puts the coupling into a transformer for the length of a `with` block."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from coupled_core.coupling.ablation import THE_METHOD, Ablation
from coupled_core.coupling.attention import Attend, Block, CoupledAttention
from coupled_core.records import CouplingMode

BuildProcessor = Callable[[Block, Attend], Any]
"""Makes what diffusers calls in a block: the model's own projections around a given attention."""


@contextmanager
def coupled_attention(
    transformer: Any,
    build_processor: BuildProcessor,
    mode: CouplingMode,
    ablation: Ablation = THE_METHOD,
) -> Iterator[CoupledAttention]:
    """Yield the state of the transformer's attention; its processors come back whatever happens.

    As long as the state says nothing, the transformer does what it always does.

    Args:
        transformer: A model of diffusers with `attn_processors`.
        build_processor: Of the model's family.
        mode: How two texts are weighed.
        ablation: What differs from the method.
    """
    # diffusers builds this dict anew at each access: these are the processors as they were found.
    originals = transformer.attn_processors
    attention = CoupledAttention(mode, ablation)
    # Names are paths such as "single_transformer_blocks.3.attn.processor".
    attention.blocks = [
        Block(name, name.startswith("single_"), getattr(original, "_attention_backend", None))
        for name, original in originals.items()
    ]
    # Inside the try, because a processor that cannot be built leaves others already exchanged.
    try:
        transformer.set_attn_processor(
            {
                block.name: build_processor(block, partial(attention.attend, block))
                for block in attention.blocks
            }
        )
        yield attention
    finally:
        # A copy: diffusers pops the entries of the dict that it is given.
        transformer.set_attn_processor(dict(originals))
