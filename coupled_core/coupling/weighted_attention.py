"""Attention over [background text | entity text | image] with the text streams weighted by beta.

Every function takes query, key and value as (B, heads, S, head_dim) with the rows in that order,
returns the same layout, and takes beta as a 0-d tensor or one value a row of the batch, (B,), in
[0, 1].

Attention to each part of the keys is computed once, by kernels that never see beta, and the parts
are merged with coefficients made of their log-sum-exps. With l_p the log-sum-exp of part p and w_p
its weight, attention over all parts with log(w_p) added to the logits is sum_p c_p out_p, c_p = w_p
exp(l_p) / sum_q w_q exp(l_q). Weights enter as factors, not as logarithms: exact and differentiable
at beta = 0 and beta = 1 too.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from coupled_core.coupling.partial_attention import attend_with_lse

# Bounds exp() of parts whose weight is zero; parts with a weight never come near it (their exponent
# is <= 0).
_MAX_EXPONENT = 60.0


@dataclass(frozen=True)
class TextLayout:
    """How many rows in front of the image rows belong to each text stream."""

    num_background_tokens: int
    num_entity_tokens: int

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return background, entity and image rows of (B, heads, S, head_dim) or (B, heads, S)."""
        num_image = rows.shape[2] - self.num_background_tokens - self.num_entity_tokens
        sizes = [self.num_background_tokens, self.num_entity_tokens, num_image]
        background, entity, image = rows.split_with_sizes(sizes, dim=2)
        return background, entity, image


def attend_log_bias(
    query: Tensor, key: Tensor, value: Tensor, beta: Tensor, layout: TextLayout
) -> Tensor:
    """Attend jointly, with log(1 - beta) added on background keys and log(beta) on entity keys."""
    keys, values = layout.split(key), layout.split(value)
    parts = [attend_with_lse(query, k, v) for k, v in zip(keys, values, strict=True)]
    beta = per_row(beta, parts[0][1])
    coefficients = _merge_coefficients(
        torch.stack([lse for _, lse in parts]),
        torch.stack([1 - beta, beta, torch.ones_like(beta)]),
    )
    return _weighted_sum([out for out, _ in parts], list(coefficients)).to(query.dtype)


def attend_key_scale(
    query: Tensor, key: Tensor, value: Tensor, beta: Tensor, layout: TextLayout
) -> Tensor:
    """Attend jointly, background keys times (1 - beta), entity keys times beta (equation 5)."""
    background, entity, image = layout.split(key)
    beta = per_row(beta, key).unsqueeze(-1).to(key.dtype)
    key = torch.cat([(1 - beta) * background, beta * entity, image], dim=2)
    return scaled_dot_product_attention(query, key, value)


def attend_two_branches(
    query: Tensor, key: Tensor, value: Tensor, beta: Tensor, layout: TextLayout
) -> Tensor:
    """Blend attention over [background | image] and over [entity | image] (equation 10).

    Image rows take (1 - beta) of the one and beta of the other; text rows exist in one branch only.
    Attention to the image keys is common to both branches and computed once.
    """
    q_background, q_entity, q_image = layout.split(query)
    k_background, k_entity, k_image = layout.split(key)
    v_background, v_entity, v_image = layout.split(value)
    to_image, image_lse = attend_with_lse(query, k_image, v_image)
    to_background, background_lse = attend_with_lse(
        torch.cat([q_background, q_image], dim=2), k_background, v_background
    )
    to_entity, entity_lse = attend_with_lse(
        torch.cat([q_entity, q_image], dim=2), k_entity, v_entity
    )

    beta = per_row(beta, image_lse)
    gap_background, gap_entity, gap_image = layout.split(image_lse)
    in_background = torch.cat([gap_background, gap_image], dim=2) - background_lse
    in_entity = torch.cat([gap_entity, gap_image], dim=2) - entity_lse
    num_background, num_entity = layout.num_background_tokens, layout.num_entity_tokens
    # Share of the image keys in each branch: sigmoid of the difference of the two log-sum-exps.
    image_share = torch.cat(
        [
            in_background[:, :, :num_background].sigmoid(),
            in_entity[:, :, :num_entity].sigmoid(),
            (1 - beta) * in_background[:, :, num_background:].sigmoid()
            + beta * in_entity[:, :, num_entity:].sigmoid(),
        ],
        dim=2,
    )
    background_share = _scale_image_rows((-in_background).sigmoid(), 1 - beta, num_background)
    entity_share = _scale_image_rows((-in_entity).sigmoid(), beta, num_entity)

    merged = to_image * image_share.unsqueeze(-1)
    from_background = to_background * background_share.unsqueeze(-1)
    from_entity = to_entity * entity_share.unsqueeze(-1)
    text_rows = torch.cat(
        [from_background[:, :, :num_background], from_entity[:, :, :num_entity]], dim=2
    )
    image_rows = from_background[:, :, num_background:] + from_entity[:, :, num_entity:]
    return (merged + torch.cat([text_rows, image_rows], dim=2)).to(query.dtype)


def per_row(beta: Tensor, like: Tensor) -> Tensor:
    """Return beta as (1, 1, 1) or (B, 1, 1) on the device of `like`, in at least float32."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    return beta.to(device=like.device, dtype=dtype).reshape(-1, 1, 1)


def _scale_image_rows(share: Tensor, weight: Tensor, num_text_rows: int) -> Tensor:
    return torch.cat([share[:, :, :num_text_rows], weight * share[:, :, num_text_rows:]], dim=2)


def _merge_coefficients(lse: Tensor, weights: Tensor) -> Tensor:
    """Return w_p exp(l_p) / sum_q w_q exp(l_q), (parts, B, heads, S), like `lse`.

    `weights` is (parts, B or 1, 1, 1).
    """
    reference = lse.masked_fill(weights == 0, -torch.inf).amax(dim=0).detach()
    mass = weights * (lse - reference).clamp(max=_MAX_EXPONENT).exp()
    return mass / mass.sum(dim=0)


def _weighted_sum(outputs: list[Tensor], coefficients: list[Tensor]) -> Tensor:
    total = outputs[0] * coefficients[0].unsqueeze(-1)
    for output, coefficient in zip(outputs[1:], coefficients[1:], strict=True):
        total = total + output * coefficient.unsqueeze(-1)
    return total
