"""Puts another attention into blocks of a FLUX transformer for the length of a `with` block."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from coupled_core.coupling.attention import Attend
from coupled_core.coupling.processors import FluxProcessor

_SUFFIX = ".attn.processor"


@contextmanager
def controlled_attention(
    transformer: FluxTransformer2DModel, attend: Attend, blocks: Collection[str] | None = None
) -> Iterator[None]:
    """Attend with `attend`; the processors that were there come back whatever happens.

    Args:
        transformer: the FLUX model.
        attend: replaces the attention itself; projections stay FLUX's.
        blocks: names such as "single_transformer_blocks.3"; None: all.
    """
    originals = transformer.attn_processors
    chosen = {
        name: FluxProcessor(attend)
        if blocks is None or name.removesuffix(_SUFFIX) in blocks
        else processor
        for name, processor in originals.items()
    }
    try:
        transformer.set_attn_processor(chosen)
        yield
    finally:
        transformer.set_attn_processor(dict(originals))


def list_blocks(transformer: FluxTransformer2DModel) -> list[str]:
    """Return the names of all blocks in the order in which they run."""
    names = [name.removesuffix(_SUFFIX) for name in transformer.attn_processors]
    return sorted(names, key=lambda name: (name.startswith("single_"), int(name.split(".")[1])))


def attend_with_source_rows(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    num_text: int,
    source_of_row: Tensor,
    take: tuple[bool, bool, bool],
) -> Tensor:
    """Attend with the image rows of query, key and value exchanged for the source's.

    Args:
        query, key, value: as of `Attend`.
        num_text: rows of text.
        source_of_row: for each row of the batch, the row of its image 0.
        take: which of query, key and value come from the source.
    """
    query, key, value = (
        torch.cat([own[:, :, :num_text], own[source_of_row, :, num_text:]], dim=2) if taken else own
        for own, taken in zip((query, key, value), take, strict=True)
    )
    return scaled_dot_product_attention(query, key, value)
