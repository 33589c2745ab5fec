"""Puts another attention into blocks of a FLUX transformer for the length of a `with` block."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import ClassVar

import torch
from diffusers import FluxTransformer2DModel
from diffusers.models.transformers.transformer_flux import FluxAttention
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from coupled_core.coupling.partial_attention import attend_with_lse
from coupled_core.coupling.processors import Rotary, project


@dataclass(frozen=True)
class TokenMap:
    """Correspondence of source and target text tokens, one a row of the batch.

    Where both prompts are the same, the identity.
    """

    from_source: Tensor
    """(B, S_txt, S_txt): share of source token s's attention that target token t takes over, in
    [0, 1]."""
    keeps_own: Tensor
    """(B, S_txt): 1 for target tokens without counterpart, which keep their attention, else 0."""

    @classmethod
    def stack(cls, maps: Sequence["TokenMap"]) -> "TokenMap":
        """Join rows to a batch."""
        return cls(
            torch.cat([one.from_source for one in maps]), torch.cat([one.keeps_own for one in maps])
        )

    def to(self, device: torch.device) -> "TokenMap":
        """Return the map on a device."""
        return TokenMap(self.from_source.to(device), self.keeps_own.to(device))


def align_tokens(source: Sequence[int], target: Sequence[int], num_tokens: int) -> TokenMap:
    """Align two prompts as Prompt-to-Prompt does for word swaps and refinements.

    Equal tokens correspond. So do replaced stretches: token by token where they are equally long,
    else each target token takes an equal share of every source token, and attention is neither
    lost nor gained. Inserted tokens keep their own attention. FLUX attends to padding, so pads
    correspond too, in order.

    Args:
        source: token ids without padding, at most `num_tokens`.
        target: likewise.
        num_tokens: length of the padded text stream, S_txt.

    Returns:
        A map of batch size 1, float32 on the CPU.
    """
    from_source, keeps_own = torch.zeros(num_tokens, num_tokens), torch.ones(num_tokens)
    matcher = SequenceMatcher(None, list(source), list(target), autojunk=False)
    num_pads = num_tokens - max(len(source), len(target))
    pads = ("equal", len(source), len(source) + num_pads, len(target), len(target) + num_pads)
    for kind, s_first, s_last, t_first, t_last in [*matcher.get_opcodes(), pads]:
        num_source, num_target = s_last - s_first, t_last - t_first
        if kind in ("insert", "delete"):
            continue
        shares = (
            torch.eye(num_source)
            if num_source == num_target
            else torch.full((num_source, num_target), 1 / num_target)
        )
        from_source[s_first:s_last, t_first:t_last] = shares
        keeps_own[t_first:t_last] = 0.0
    return TokenMap(from_source.unsqueeze(0), keeps_own.unsqueeze(0))


Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Attention of query, key and value, (B, heads, S, head_dim) with text rows first, normalised and
rotated; returns the same shape."""

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
        name: ControlledProcessor(attend)
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


class ControlledProcessor:
    """`FluxAttnProcessor` with the attention itself exchanged."""

    _attention_backend: ClassVar[None] = None
    _parallel_config: ClassVar[None] = None

    def __init__(self, attend: Attend) -> None:
        self._attend = attend

    def __call__(
        self,
        attn: FluxAttention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Rotary | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Attend; shapes as in `coupling.processors.CoupledProcessor`."""
        if attention_mask is not None:
            raise ValueError("controlled attention expects no attention mask; got one")
        query, key, value = project(attn, hidden_states, encoder_hidden_states, image_rotary_emb)
        rows = self._attend(query, key, value).transpose(1, 2).flatten(2, 3)
        if encoder_hidden_states is None:
            return rows
        num_text = encoder_hidden_states.shape[1]
        image: Tensor = attn.to_out[1](attn.to_out[0](rows[:, num_text:].contiguous()))
        text: Tensor = attn.to_add_out(rows[:, :num_text].contiguous())
        return image, text


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
        query, key, value, source_of_row: see above.
        num_text: rows of text.
        take: which of query, key and value come from the source.
    """
    query, key, value = (
        torch.cat([own[:, :, :num_text], own[source_of_row, :, num_text:]], dim=2) if taken else own
        for own, taken in zip((query, key, value), take, strict=True)
    )
    return scaled_dot_product_attention(query, key, value)


def attend_with_source_map(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    num_text: int,
    source_of_row: Tensor,
    token_map: TokenMap | None,
    replace_image_map: bool,
) -> Tensor:
    """Attend with blocks of the image rows' attention map exchanged for the source's.

    FLUX has one softmax over text and image keys: exchanging one of its two blocks alone leaves a
    map whose rows do not sum to one, so they are scaled until they do. The map over image keys is
    never formed: the source's map times the edit's values is an attention of the source's queries
    and keys, and its log-sum-exp says what share of the whole map it is.

    Args:
        query, key, value, source_of_row: see above.
        num_text: rows of text.
        token_map: exchanges the image -> text block, token by token; None leaves it alone.
        replace_image_map: exchanges the image -> image block.
    """
    text_rows = scaled_dot_product_attention(query[:, :, :num_text], key, value)
    query, key_text, key_image = query[:, :, num_text:], key[:, :, :num_text], key[:, :, num_text:]
    value_text, value_image = value[:, :, :num_text], value[:, :, num_text:]

    logits = (query @ key_text.transpose(-1, -2)).float() * query.shape[-1] ** -0.5
    to_image, image_lse = attend_with_lse(query, key_image, value_image)
    whole = torch.logaddexp(logits.logsumexp(dim=-1), image_lse)
    text_map, image_share = (logits - whole.unsqueeze(-1)).exp(), (image_lse - whole).exp()

    if token_map is not None:
        own = text_map * token_map.keeps_own[:, None, None, :]
        text_map = text_map[source_of_row] @ token_map.from_source.unsqueeze(1) + own
    if replace_image_map:
        source_query, source_key = query[source_of_row], key_image[source_of_row]
        to_image, _ = attend_with_lse(source_query, source_key, value_image)
        image_share = image_share[source_of_row]
    total = text_map @ value_text.to(text_map.dtype) + image_share.unsqueeze(-1) * to_image
    image_rows = total / (text_map.sum(dim=-1) + image_share).unsqueeze(-1)
    return torch.cat([text_rows, image_rows.to(text_rows.dtype)], dim=2)
