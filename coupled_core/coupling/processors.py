"""Attention processors that put the coupling into FLUX's blocks; written against diffusers 0.42.

They reproduce `FluxAttnProcessor` around the attention itself. The text stream is [background |
entity]; `joint_attention_kwargs` carries beta as a tensor (a float would recompile at every step,
and would have no gradient) and the two token counts.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.transformers.transformer_flux import FluxAttention, _get_qkv_projections
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from coupled_core.coupling.weighted_attention import (
    TextLayout,
    attend_key_scale,
    attend_log_bias,
    attend_two_branches,
)

Rotary = tuple[Tensor, Tensor]


class CoupledProcessor(ABC):
    """What all processors share: attributes that diffusers looks for, and FLUX's projections."""

    _attention_backend: ClassVar[None] = None
    _parallel_config: ClassVar[None] = None
    needs_beta: ClassVar[bool] = True

    def __call__(
        self,
        attn: FluxAttention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Rotary | None = None,
        beta: Tensor | None = None,
        num_background_tokens: int = 0,
        num_entity_tokens: int = 0,
        single_beta: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Attend with weights.

        Args:
            attn: the block's attention module.
            hidden_states: image rows (B, S_img, dim) in double-stream blocks; background, entity
                and image rows (B, S, dim) in single-stream blocks.
            encoder_hidden_states: text rows (B, S_bg + S_ent, dim); None in single-stream blocks.
            attention_mask: must be None; FLUX uses none.
            image_rotary_emb: cosines and sines, (S, head_dim) each.
            beta: weight of the entity text in [0, 1]; 0-d, or (B,).
            num_background_tokens: how many rows the background text has.
            num_entity_tokens: how many rows the entity text has.
            single_beta: takes beta's place in single-stream blocks; None: one beta for all blocks.

        Returns:
            (image rows, text rows) in double-stream blocks; all rows in single-stream blocks.
        """
        if (beta is None and self.needs_beta) or attention_mask is not None:
            raise ValueError(
                "coupled attention expects `beta` in joint_attention_kwargs and no attention mask; "
                f"got beta={beta}, attention_mask={'None' if attention_mask is None else 'a mask'}"
            )
        if single_beta is not None and encoder_hidden_states is None:
            beta = single_beta
        query, key, value = _project(attn, hidden_states, encoder_hidden_states, image_rotary_emb)
        layout = TextLayout(num_background_tokens, num_entity_tokens)
        rows = self.attend(query, key, value, beta, layout).transpose(1, 2).flatten(2, 3)
        if encoder_hidden_states is None:
            return rows
        num_text = encoder_hidden_states.shape[1]
        image: Tensor = attn.to_out[1](attn.to_out[0](rows[:, num_text:].contiguous()))
        text: Tensor = attn.to_add_out(rows[:, :num_text].contiguous())
        return image, text

    @abstractmethod
    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, beta: Tensor | None, layout: TextLayout
    ) -> Tensor:
        """Return attention (B, heads, S, head_dim) of the projected rows."""


class StockProcessor(CoupledProcessor):
    """FLUX's own attention over one text: what the others are built on where nothing is weighed."""

    needs_beta = False

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, beta: Tensor | None, layout: TextLayout
    ) -> Tensor:
        """Attend to all keys alike."""
        return scaled_dot_product_attention(query, key, value)


class LogBiasDoubleProcessor(CoupledProcessor):
    """Double-stream blocks in `log_bias` mode."""

    def __init__(self, *, texts_meet: bool = True) -> None:
        self._texts_meet = texts_meet

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, beta: Tensor | None, layout: TextLayout
    ) -> Tensor:
        """See `attend_log_bias`."""
        return attend_log_bias(query, key, value, _given(beta), layout, texts_meet=self._texts_meet)


class KeyScaleDoubleProcessor(CoupledProcessor):
    """Double-stream blocks in `key_scale` mode; before the keys' norm, scaling would cancel.

    The rotary embedding lies between norm and scaling here: it is linear, so the order makes no
    difference.
    """

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, beta: Tensor | None, layout: TextLayout
    ) -> Tensor:
        """See `attend_key_scale`."""
        return attend_key_scale(query, key, value, _given(beta), layout)


class TwoBranchSingleProcessor(CoupledProcessor):
    """Single-stream blocks in both modes.

    All else in such a block is token-wise or affine, so blending here equals running the whole
    block twice.
    """

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, beta: Tensor | None, layout: TextLayout
    ) -> Tensor:
        """See `attend_two_branches`."""
        return attend_two_branches(query, key, value, _given(beta), layout)


def _given(beta: Tensor | None) -> Tensor:
    assert beta is not None  # checked on entry
    return beta


def _project(
    attn: FluxAttention,
    hidden_states: Tensor,
    encoder_hidden_states: Tensor | None,
    image_rotary_emb: Rotary | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return query, key, value (B, heads, S, head_dim), text rows first, normalised and rotated."""
    projected = _get_qkv_projections(attn, hidden_states, encoder_hidden_states)
    of_hidden, of_text = projected[:3], projected[3:]
    query, key, value = (_split_heads(attn, rows) for rows in of_hidden)
    query, key = attn.norm_q(query), attn.norm_k(key)
    if encoder_hidden_states is not None:
        text_query, text_key, text_value = (_split_heads(attn, rows) for rows in of_text)
        query = torch.cat([attn.norm_added_q(text_query), query], dim=1)
        key = torch.cat([attn.norm_added_k(text_key), key], dim=1)
        value = torch.cat([text_value, value], dim=1)
    if image_rotary_emb is not None:
        query = apply_rotary_emb(query, image_rotary_emb, sequence_dim=1)
        key = apply_rotary_emb(key, image_rotary_emb, sequence_dim=1)
    return query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)


def _split_heads(attn: FluxAttention, rows: Tensor) -> Tensor:
    return rows.reshape(*rows.shape[:-1], -1, attn.head_dim)
