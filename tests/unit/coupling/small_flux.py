"""Small models with random weights, in float64 so that exactness can be told from rounding."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from functools import partial

import torch
from diffusers import (
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
    FluxPipeline,
    FluxTransformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from torch import Tensor

from coupled_core.coupling.attention import Block, CoupledAttention, TextWeights
from coupled_core.coupling.install import coupled_attention
from coupled_core.coupling.weighted_attention import TextLayout
from coupled_core.generation.families.family import Conditioning, Family
from coupled_core.generation.families.flux1 import Flux1
from coupled_core.generation.families.flux2 import Flux2Dev, Flux2Klein
from coupled_core.generation.families.qwen import QwenImage
from coupled_core.records import CouplingMode

NUM_TEXT, SIDE, BATCH = 6, 4, 3
_SIZE_PX = 16 * SIDE


@dataclass(frozen=True)
class Inputs:
    """One batch: two text streams, one noise."""

    hidden_states: Tensor
    background: Tensor
    entity: Tensor
    pooled: Tensor

    def to(self, dtype: torch.dtype) -> "Inputs":
        return replace(self, **{f.name: getattr(self, f.name).to(dtype) for f in fields(self)})

    def take_first(self) -> "Inputs":
        return replace(self, **{f.name: getattr(self, f.name)[:1] for f in fields(self)})


SMALL = {
    "num_layers": 2,
    "num_single_layers": 3,
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "in_channels": 8,
    "joint_attention_dim": 24,
}


FAMILIES = ("flux1", "flux2", "flux2-dev", "qwen")


def build_family(name: str, **changes: int) -> Family:
    torch.manual_seed(0)
    shape = {**SMALL, **changes}
    eighth = shape["attention_head_dim"] // 8
    parts = {"scheduler": None, "vae": None, "text_encoder": None, "tokenizer": None}
    if name == "flux1":
        axes = (2 * eighth, 3 * eighth, 3 * eighth)
        model = FluxTransformer2DModel(**shape, pooled_projection_dim=20, axes_dims_rope=axes)
        parts |= {"text_encoder_2": None, "tokenizer_2": None}
        family: Family = Flux1(FluxPipeline(transformer=model, **parts))
    elif name == "qwen":
        axes = (2 * eighth, 2 * eighth, 4 * eighth)
        del shape["num_single_layers"]
        model = QwenImageTransformer2DModel(**shape, out_channels=2, axes_dims_rope=axes)
        family = QwenImage(QwenImagePipeline(transformer=model, **parts))
    else:
        axes, is_dev = (2 * eighth,) * 4, name == "flux2-dev"
        model = Flux2Transformer2DModel(**shape, axes_dims_rope=axes, guidance_embeds=is_dev)
        kind, pipeline = (Flux2Dev, Flux2Pipeline) if is_dev else (Flux2Klein, Flux2KleinPipeline)
        family = kind(pipeline(transformer=model, **parts))
    for parameter in model.parameters():
        # Larger than the initialisation, so that text matters and a mistake shows.
        parameter.data.mul_(2.0)
    model.to(torch.float64).eval().requires_grad_(False)
    return family


def build_inputs() -> Inputs:
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(BATCH, *shape, generator=generator, dtype=torch.float64)

    return Inputs(
        hidden_states=draw(SIDE * SIDE, 8),
        background=draw(NUM_TEXT, 24),
        entity=draw(NUM_TEXT, 24),
        pooled=draw(20),
    )


def couple(family: Family, mode: CouplingMode) -> AbstractContextManager[CoupledAttention]:
    return coupled_attention(family.transformer, family.build_processor, mode)


def install(family: Family, attention: CoupledAttention) -> None:
    """Put in processors that ask `attention`, and leave them there."""
    names = family.transformer.attn_processors
    blocks = [Block(name, name.startswith("single_")) for name in names]
    family.transformer.set_attn_processor(
        {
            block.name: family.build_processor(block, partial(attention.attend, block))
            for block in blocks
        }
    )


def weigh(beta: Tensor | float, num_entity: int = NUM_TEXT) -> TextWeights:
    return TextWeights(TextLayout(NUM_TEXT, num_entity), torch.as_tensor(beta))


def run_stock(family: Family, inputs: Inputs, text: Tensor) -> Tensor:
    return run_with_text(family, inputs, text)


def run_coupled(
    family: Family, inputs: Inputs, beta: Tensor | float, attention: CoupledAttention
) -> Tensor:
    """Run with [background | entity] text, weighed by `attention`."""
    attention.weights = weigh(torch.as_tensor(beta, dtype=inputs.entity.dtype))
    text = torch.cat([inputs.background, inputs.entity], dim=1)
    return run_with_text(family, inputs, text, attention.weights)


def relative_error(value: Tensor, expected: Tensor) -> float:
    return float((value - expected).norm() / expected.norm())


def run_with_text(
    family: Family,
    inputs: Inputs,
    text: Tensor,
    weights: TextWeights | None = None,
    tokens: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Run some of the image tokens, or all of them; `mask` says which rows of text count."""
    frame = family.find_frame(_SIZE_PX, _SIZE_PX)
    chosen = torch.arange(len(frame.ids)) if tokens is None else tokens
    return family.predict_velocity(
        inputs.hidden_states[:, chosen],
        torch.tensor(700.0),
        Conditioning(text, inputs.pooled, weights, mask),
        frame.take(chosen),
        3.5 if family.guidance == "embedding" else None,
    )
