"""Attention over [background text | entity text | image] with the text streams weighted by beta.

Every function takes query, key and value as (B, heads, S, head_dim) with the rows in that order,
returns the same layout, and takes beta as a 0-d tensor or one value a row of the batch, (B,), in
[0, 1]. A mask says which keys are no padding, bool, (B, 1, 1, S_k); None: all.

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

from coupled_core.coupling.partial_attention import (
    attend_with_bias,
    attend_with_lse,
    needs_gradient,
)

# Bounds exp() of parts whose weight is zero; parts with a weight never come near it (their exponent
# is <= 0).
_MAX_EXPONENT = 60.0


@dataclass(frozen=True)
class TextLayout:
    """How many rows in front of the image rows belong to each text stream."""

    num_background_tokens: int
    num_entity_tokens: int

    def split(self, rows: Tensor, dim: int = 2) -> tuple[Tensor, Tensor, Tensor]:
        """Return background, entity and image rows of (B, heads, S, head_dim) or (B, heads, S)."""
        num_image = rows.shape[dim] - self.num_background_tokens - self.num_entity_tokens
        sizes = [self.num_background_tokens, self.num_entity_tokens, num_image]
        background, entity, image = rows.split_with_sizes(sizes, dim=dim)
        return background, entity, image


def attend_log_bias(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    beta: Tensor,
    layout: TextLayout,
    mask: Tensor | None = None,
    *,
    texts_meet: bool = True,
) -> Tensor:
    """Attend jointly, with log(1 - beta) added on background keys and log(beta) on entity keys.

    With `texts_meet` false the two texts do not attend to each other.
    """
    if texts_meet and query.device.type == "cpu" and not needs_gradient(query, key, value, beta):
        # One kernel where three and a merge cost half as much again: the CPU's takes a bias, which
        # the fast ones of a GPU do not.
        return attend_with_bias(query, key, value, _log_weights(beta, layout, key, mask))
    keys, values, masks = layout.split(key), layout.split(value), _split_mask(mask, layout)
    # All rows attend to the background text, to the entity text and to the image, each by itself.
    parts = [attend_with_lse(query, *part) for part in zip(keys, values, masks, strict=True)]
    beta = per_row(beta, parts[0][1])
    weights = torch.stack([1 - beta, beta, torch.ones_like(beta)])  # (3, B or 1, 1, 1)
    if not texts_meet:
        # One weight a query row. The splits are views: the entity part gets weight 0 for the
        # background's rows, and the other way round.
        weights = weights.repeat(1, 1, 1, query.shape[2])
        of_background, of_entity, _ = layout.split(weights, dim=3)
        of_background[1], of_entity[0] = 0.0, 0.0
    coefficients = _merge_coefficients(torch.stack([lse for _, lse in parts]), weights)
    return _weighted_sum([out for out, _ in parts], list(coefficients)).to(query.dtype)


def attend_key_scale(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    beta: Tensor,
    layout: TextLayout,
    mask: Tensor | None = None,
) -> Tensor:
    """Attend jointly, background keys times (1 - beta), entity keys times beta (equation 5)."""
    background, entity, image = layout.split(key)
    beta = per_row(beta, key).unsqueeze(-1).to(key.dtype)
    # After the norm of the keys: scaling before it would cancel.
    key = torch.cat([(1 - beta) * background, beta * entity, image], dim=2)
    return scaled_dot_product_attention(query, key, value, attn_mask=mask)


def attend_two_branches(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    beta: Tensor,
    layout: TextLayout,
    mask: Tensor | None = None,
) -> Tensor:
    """Blend attention over [background | image] and over [entity | image] (equation 10).

    Image rows take (1 - beta) of the one and beta of the other; text rows exist in one branch only.
    Attention to the image keys is common to both branches and computed once.
    """
    masks = _split_mask(mask, layout)
    image_key, image_value = layout.split(key)[2], layout.split(value)[2]
    # Rows of both texts and of the image: (B, heads, S, head_dim) and (B, heads, S).
    to_image, image_lse = attend_with_lse(query, image_key, image_value)
    outputs, lses = layout.split(to_image), layout.split(image_lse)
    beta = per_row(beta, image_lse)

    # The image rows are a sum of three outputs: to the image keys, which both branches share, and
    # to either text. Their coefficients add up to 1.
    text_rows, image_share = [], torch.zeros_like(lses[2])
    blended: list[tuple[Tensor, Tensor]] = []
    for branch, weight in ((0, 1 - beta), (1, beta)):
        q_text, k_text, v_text = (layout.split(rows)[branch] for rows in (query, key, value))
        # Text rows see their own text and the image. Of two parts, one has the share exp(a) /
        # (exp(a) + exp(b)) = sigmoid(a - b), which cannot overflow.
        own, own_lse = attend_with_lse(q_text, k_text, v_text, masks[branch])
        share = (lses[branch] - own_lse).sigmoid()
        text_rows.append(_weighted_sum([outputs[branch], own], [share, 1 - share]))
        seen, seen_lse = attend_with_lse(layout.split(query)[2], k_text, v_text, masks[branch])
        # The share of the image keys in a branch is the sigmoid of the difference of the two lses.
        share = (lses[2] - seen_lse).sigmoid()
        image_share = image_share + weight * share
        blended.append((seen, weight * (1 - share)))
    image_rows = _weighted_sum(
        [outputs[2], *(seen for seen, _ in blended)], [image_share, *(c for _, c in blended)]
    )
    # Joined with the heads inside, (B, S, heads, head_dim), as the block's next matrix wants them.
    rows = [part.transpose(1, 2) for part in (*text_rows, image_rows)]
    return torch.cat(rows, dim=1).transpose(1, 2).to(query.dtype)


def per_row(beta: Tensor, like: Tensor) -> Tensor:
    """Return beta as (1, 1, 1) or (B, 1, 1) on the device of `like`, in at least float32."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    # In bfloat16, 1 - beta is 1 for every beta below 1 / 512.
    return beta.to(device=like.device, dtype=dtype).reshape(-1, 1, 1)


def _split_mask(mask: Tensor | None, layout: TextLayout) -> tuple[Tensor | None, ...]:
    """Return the masks of the two texts; image keys need none."""
    return (None,) * 3 if mask is None else (*layout.split(mask, dim=3)[:2], None)


def _log_weights(beta: Tensor, layout: TextLayout, key: Tensor, mask: Tensor | None) -> Tensor:
    """Return the logarithm of each key's weight, (B or 1, 1, 1, S_k); -inf: it does not count."""
    beta = per_row(beta, key).unsqueeze(-1)
    bias = beta.new_zeros(len(beta), 1, 1, key.shape[2])
    background, entity, _ = layout.split(bias, dim=3)
    background += (1 - beta).log()
    entity += beta.log()
    return bias if mask is None else bias.masked_fill(~mask, -torch.inf)


def _merge_coefficients(lse: Tensor, weights: Tensor) -> Tensor:
    """Return w_p exp(l_p) / sum_q w_q exp(l_q), (parts, B, heads, S), like `lse`.

    `weights` is (parts, B or 1, 1, S or 1).
    """
    # The largest log-sum-exp among parts that count, as in a stable softmax. It cancels in the
    # fraction, so no gradient has to pass through it.
    reference = lse.masked_fill(weights == 0, -torch.inf).amax(dim=0).detach()
    mass = weights * (lse - reference).clamp(max=_MAX_EXPONENT).exp()
    return mass / mass.sum(dim=0)


def _weighted_sum(outputs: list[Tensor], coefficients: list[Tensor]) -> Tensor:
    total = outputs[0] * coefficients[0].unsqueeze(-1)
    for output, coefficient in zip(outputs[1:], coefficients[1:], strict=True):
        # Outputs may be bfloat16 and coefficients are not: addcmul promotes, so the sum is made in
        # float32.
        total = torch.addcmul(total, output, coefficient.unsqueeze(-1))
    return total
