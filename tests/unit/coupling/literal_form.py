"""The method as written down, whole attentions and a blend: the oracle of the fused attention."""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from coupled_core.coupling.attention import Block, CoupledAttention


class LiteralAttention(CoupledAttention):
    """Takes the place of what the processors share."""

    def attend(self, block: Block, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if block.is_single:
            return self._attend_in_two_branches(query, key, value)
        return self._attend_with_bias(query, key, value)

    def _attend_with_bias(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Double-stream: one attention with log(1 - beta) and log(beta) as an additive key mask."""
        layout = self.weights.layout
        background, entity, image = layout.split(torch.zeros_like(key[..., 0]))
        weight = self.weights.beta.reshape(-1, 1, 1)
        bias = torch.cat([background + (1 - weight).log(), entity + weight.log(), image], dim=2)
        return scaled_dot_product_attention(query, key, value, attn_mask=bias.unsqueeze(2))

    def _attend_in_two_branches(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Single-stream: whole attentions over [background | image] and [entity | image]."""
        layout = self.weights.layout
        streams = [layout.split(rows) for rows in (query, key, value)]
        outputs = []
        for branch in (0, 1):
            q, k, v = (torch.cat([stream[branch], stream[2]], dim=2) for stream in streams)
            outputs.append(scaled_dot_product_attention(q, k, v))
        num_background, num_entity = layout.num_background_tokens, layout.num_entity_tokens
        weight = self.weights.beta.reshape(-1, 1, 1, 1)
        image = (1 - weight) * outputs[0][:, :, num_background:] + weight * outputs[1][
            :, :, num_entity:
        ]
        return torch.cat(
            [outputs[0][:, :, :num_background], outputs[1][:, :, :num_entity], image], dim=2
        )
