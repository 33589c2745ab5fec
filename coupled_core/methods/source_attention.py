"""Attention in which edits take over maps, queries, keys or values from their source image.

Rows are (B, heads, S, head_dim), text first; `source_of_row` (B,) names the row of the batch that
holds the source of each row, itself for a source. Where source and edit agree, every function
equals stock attention.
"""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from coupled_core.coupling.partial_attention import attend_with_lse
from coupled_core.methods.token_alignment import TokenMap


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
