"""What attention does in every block while images are coupled: one rule for all modes and models.

All processors of a transformer ask one `CoupledAttention`. They are put in once a run; from call to
call only the state here changes: how the texts are weighed, and whether the background's keys and
values are kept or looked at.

The background of mode region is one row that reads the background text alone. While it goes
through the transformer, every block's keys and values outside the region are kept; then the images
go through with the tokens of the region only, and attend to the kept ones in place of those that
they left out. Outside the region each block of each image thus sees exactly the background's
tokens: weight 0 of the entity text, in space.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from diffusers.models.attention_dispatch import dispatch_attention_fn
from torch import Tensor, cat
from torch.nn.functional import pad

from coupled_core.coupling.ablation import THE_METHOD, Ablation
from coupled_core.coupling.weighted_attention import (
    TextLayout,
    attend_key_scale,
    attend_log_bias,
    attend_two_branches,
)
from coupled_core.records import CouplingMode

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Attention of query, key and value, (B, heads, S, head_dim) with text rows first, normalised and
rotated; returns the same shape."""


@dataclass(frozen=True)
class TextWeights:
    """How the two texts of a call are weighed."""

    layout: TextLayout
    beta: Tensor
    """Weight of the entity text in [0, 1]; 0-d, or one a row of the batch, (B,). A tensor, because
    a float would recompile the model at every step and have no gradient."""
    single_beta: Tensor | None = None
    """Takes beta's place in single-stream blocks; None: one beta for all blocks."""


@dataclass(eq=False)
class Block:
    """One attention of a transformer, and what it keeps from one call for the next.

    That stands here and not in a table by name, because a compiled block would be compiled anew for
    each name that it looks up.
    """

    name: str
    is_single: bool
    """Whether text and image go through one stream of weights."""
    backend: Any = None
    """What diffusers computes attention to one text with; None: its default."""
    kept: tuple[Tensor, Tensor] | None = None
    """Keys and values of the background outside the region; only between `keep` and `recall`."""


class CoupledAttention:
    """The state that all processors of a transformer share."""

    def __init__(self, mode: CouplingMode, ablation: Ablation = THE_METHOD) -> None:
        self._mode = mode
        self._ablation = ablation
        self.weights: TextWeights | None = None
        """Of the next calls; None: they carry one text, and the model is the stock one."""
        self.mask: Tensor | None = None
        """Which of the next calls' text rows are no padding, bool, (B, S_txt); None: all."""
        self._role: Literal["keep", "recall"] | None = None
        self._kept_tokens: Tensor | None = None
        self.blocks: Sequence[Block] = ()
        """All that keep something."""

    @contextmanager
    def keep(self, outside: Tensor, num_text_tokens: int) -> Iterator[None]:
        """Let a call of one row with one text leave its keys and values to `recall`.

        Args:
            outside: indices of the image tokens that will be looked at, (S_outside,).
            num_text_tokens: rows of text in front of the image rows.
        """
        # Text rows stand in front of the image rows, so token i of the image is row num_text + i.
        self._kept_tokens, self._role = outside + num_text_tokens, "keep"
        try:
            yield
        finally:
            self._role = None

    @contextmanager
    def recall(self) -> Iterator[None]:
        """Let one call with the region's image tokens see the kept tokens elsewhere."""
        self._role = "recall"
        try:
            yield
        finally:
            self._role = None
            # Empty already, unless the call broke off half-way through the blocks.
            for block in self.blocks:
                block.kept = None

    @property
    def num_kept_bytes(self) -> int:
        """What is kept at the moment."""
        return sum(rows.nbytes for block in self.blocks for rows in block.kept or ())

    def attend(self, block: Block, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return attention of the projected rows, (B, heads, S_q, head_dim)."""
        if self._role == "keep" and self._kept_tokens is not None:
            # A copy of what is needed: a slice would hold on to the rows of text and region, too.
            tokens = self._kept_tokens
            block.kept = key.index_select(2, tokens), value.index_select(2, tokens)
        elif self._role == "recall":
            assert block.kept is not None, "`keep` comes before"
            # Behind the row's own image tokens: whoever splits the keys takes both for image keys.
            # Taken out, so that the memory is free again when the last block is done.
            # The background is one row; expand shows it to all B images without a copy.
            rows = (len(key), -1, -1, -1)
            (kept_key, kept_value), block.kept = block.kept, None
            key = cat([key, kept_key.expand(rows)], dim=2)  # (B, heads, S_k + S_outside, head_dim)
            value = cat([value, kept_value.expand(rows)], dim=2)
        mask = self._mask_keys(key.shape[2])
        if self.weights is None:
            return attend_to_all(block, query, key, value, mask)
        return self._weigh(self.weights, block, (query, key, value), mask)

    def _mask_keys(self, num_keys: int) -> Tensor | None:
        """Return which keys are no padding, (B, 1, 1, S_k); those behind the text are not."""
        if self.mask is None:
            return None
        return pad(self.mask, (0, num_keys - self.mask.shape[1]), value=True)[:, None, None]

    def _weigh(
        self,
        weights: TextWeights,
        block: Block,
        rows: tuple[Tensor, Tensor, Tensor],
        mask: Tensor | None,
    ) -> Tensor:
        layout = weights.layout
        beta = weights.beta
        if block.is_single and weights.single_beta is not None:
            beta = weights.single_beta
        if block.is_single and self._ablation.blend_in_single:
            # All else in such a block is token-wise or affine, so blending here equals running the
            # whole block twice.
            return attend_two_branches(*rows, beta, layout, mask)
        # Double-stream blocks attend jointly: one softmax over both texts and the image.
        if self._mode == "key_scale":
            return attend_key_scale(*rows, beta, layout, mask)
        # In mode region, too: inside the region; outside there is no text to weigh.
        texts_meet = self._ablation.texts_meet
        return attend_log_bias(*rows, beta, layout, mask, texts_meet=texts_meet)


def attend_to_all(
    block: Block, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Attend to all keys alike, as the stock model does; see `_mask_keys` for the mask."""
    # diffusers has the heads third: (B, S, heads, head_dim).
    rows = (part.transpose(1, 2) for part in (query, key, value))
    attended: Tensor = dispatch_attention_fn(*rows, attn_mask=mask, backend=block.backend)
    return attended.transpose(1, 2)
