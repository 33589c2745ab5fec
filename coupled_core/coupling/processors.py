"""Attention processors around a given attention; written against diffusers 0.42.

They do what `FluxAttnProcessor`, `Flux2AttnProcessor`, `Flux2ParallelSelfAttnProcessor` and
`QwenDoubleStreamAttnProcessor2_0` do before and after the attention itself.
"""

from typing import Any, ClassVar

import torch
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.transformers.transformer_flux import _get_qkv_projections
from diffusers.models.transformers.transformer_qwenimage import apply_rotary_emb_qwen
from torch import Tensor

from coupled_core.coupling.attention import Attend

Rotary = tuple[Tensor, Tensor]
"""Cosines and sines, (S, head_dim) each."""


class _Processor:
    _attention_backend: ClassVar[None] = None  # diffusers asks its processors for both
    _parallel_config: ClassVar[None] = None

    def __init__(self, attend: Attend) -> None:
        self._attend = attend


class FluxProcessor(_Processor):
    """All blocks of FLUX.1 and the double-stream blocks of FLUX.2."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Rotary | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Project, attend, project.

        Args:
            attn: the block's attention module.
            hidden_states: image rows (B, S_img, dim) in double-stream blocks; text and image rows
                (B, S, dim) in single-stream blocks.
            encoder_hidden_states: text rows (B, S_txt, dim); None in single-stream blocks.
            attention_mask: must be None; these models use none.
            image_rotary_emb: of all rows.

        Returns:
            (image rows, text rows) in double-stream blocks; all rows in single-stream blocks.
        """
        _refuse_mask(attention_mask)
        query, key, value = _project(attn, hidden_states, encoder_hidden_states, image_rotary_emb)
        # (B, heads, S, head_dim) to (B, S, heads * head_dim), which the output matrices take.
        rows = self._attend(query, key, value).transpose(1, 2).flatten(2, 3)
        if encoder_hidden_states is None:
            return rows
        num_text = encoder_hidden_states.shape[1]
        # to_out is a matrix and a dropout. Linear layers want contiguous rows, and these are
        # slices.
        image: Tensor = attn.to_out[1](attn.to_out[0](rows[:, num_text:].contiguous()))
        text: Tensor = attn.to_add_out(rows[:, :num_text].contiguous())
        return image, text


class Flux2SingleProcessor(_Processor):
    """Single-stream blocks of FLUX.2, which run their MLP beside the attention."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Rotary | None = None,
    ) -> Tensor:
        """Return text and image rows, (B, S, dim), of such rows."""
        _refuse_mask(attention_mask)
        # One matrix makes query, key, value and the hidden layer of the MLP (twice as wide for its
        # gate).
        projected = attn.to_qkv_mlp_proj(hidden_states)
        sizes = [attn.inner_dim] * 3 + [attn.mlp_hidden_dim * attn.mlp_mult_factor]
        query, key, value, mlp = projected.split_with_sizes(sizes, dim=-1)
        query, key, value = (_split_heads(attn, rows) for rows in (query, key, value))
        query, key = attn.norm_q(query), attn.norm_k(key)
        query, key = _rotate(query, key, image_rotary_emb)
        attended = self._attend(*(rows.transpose(1, 2) for rows in (query, key, value)))
        # One matrix takes both back: (B, S, heads * head_dim + mlp_hidden_dim).
        rows = torch.cat([attended.transpose(1, 2).flatten(2, 3), attn.mlp_act_fn(mlp)], dim=-1)
        out: Tensor = attn.to_out(rows)
        return out


class QwenProcessor(_Processor):
    """All blocks of Qwen-Image, which have two streams."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        encoder_hidden_states_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: tuple[Tensor, Tensor] | None = None,
        *,
        text_places: Tensor | None = None,
        image_places: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return image and text rows, (B, S, dim), of such rows.

        Args:
            attn: the block's attention module.
            hidden_states: image rows.
            encoder_hidden_states: text rows.
            encoder_hidden_states_mask: not looked at: `CoupledAttention` has it.
            attention_mask: must be None.
            image_rotary_emb: complex, of all places of the image and of one text as long as all.
            text_places: of each text row in its own text, (S_txt,); None: there is one text.
            image_places: of each image row in the image, (S_img,); None: all are there.
        """
        _refuse_mask(attention_mask)
        assert image_rotary_emb is not None  # Qwen-Image always has one
        of_image, of_text = (
            turns if places is None else turns[places]
            for turns, places in zip(image_rotary_emb, (image_places, text_places), strict=True)
        )
        image = (attn.to_q, attn.to_k, attn.to_v, attn.norm_q, attn.norm_k)
        text = (
            attn.add_q_proj, attn.add_k_proj, attn.add_v_proj, attn.norm_added_q, attn.norm_added_k,
        )  # fmt: skip
        parts = zip(
            _project_stream(attn, text, encoder_hidden_states, of_text),
            _project_stream(attn, image, hidden_states, of_image),
            strict=True,
        )
        joint = (torch.cat(pair, dim=1).transpose(1, 2) for pair in parts)
        rows = self._attend(*joint).transpose(1, 2).flatten(2, 3)
        num_text = encoder_hidden_states.shape[1]
        image_rows: Tensor = attn.to_out[1](attn.to_out[0](rows[:, num_text:].contiguous()))
        text_rows: Tensor = attn.to_add_out(rows[:, :num_text].contiguous())
        return image_rows, text_rows


def _project_stream(
    attn: Any, modules: tuple[Any, ...], rows: Tensor, turns: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return query, key, value of one stream, (B, S, heads, head_dim), normalised and rotated."""
    *projections, norm_q, norm_k = modules
    head_dim = attn.inner_dim // attn.heads
    query, key, value = (each(rows).unflatten(-1, (-1, head_dim)) for each in projections)
    return (
        apply_rotary_emb_qwen(norm_q(query), turns, use_real=False),
        apply_rotary_emb_qwen(norm_k(key), turns, use_real=False),
        value,
    )


def _refuse_mask(attention_mask: Tensor | None) -> None:
    if attention_mask is not None:
        raise ValueError(
            f"coupled attention expects no attention mask; got one of {tuple(attention_mask.shape)}"
        )


def _project(
    attn: Any,
    hidden_states: Tensor,
    encoder_hidden_states: Tensor | None,
    image_rotary_emb: Rotary | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return query, key, value (B, heads, S, head_dim), text rows first, normalised and rotated."""
    # diffusers' own, because it also knows the form in which the three matrices are fused into one.
    projected = _get_qkv_projections(attn, hidden_states, encoder_hidden_states)
    of_hidden, of_text = projected[:3], projected[3:]
    query, key, value = (_split_heads(attn, rows) for rows in of_hidden)
    query, key = attn.norm_q(query), attn.norm_k(key)
    if encoder_hidden_states is not None:
        text_query, text_key, text_value = (_split_heads(attn, rows) for rows in of_text)
        # Along the sequence, (B, S_txt + S_img, heads, head_dim); values are not normalised.
        query = torch.cat([attn.norm_added_q(text_query), query], dim=1)
        key = torch.cat([attn.norm_added_k(text_key), key], dim=1)
        value = torch.cat([text_value, value], dim=1)
    query, key = _rotate(query, key, image_rotary_emb)
    return query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)


def _rotate(query: Tensor, key: Tensor, rotary: Rotary | None) -> tuple[Tensor, Tensor]:
    if rotary is None:
        return query, key
    return (
        apply_rotary_emb(query, rotary, sequence_dim=1),
        apply_rotary_emb(key, rotary, sequence_dim=1),
    )


def _split_heads(attn: Any, rows: Tensor) -> Tensor:
    return rows.reshape(*rows.shape[:-1], -1, attn.head_dim)  # (B, S, heads, head_dim)
