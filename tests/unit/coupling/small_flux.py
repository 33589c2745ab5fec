"""A small FLUX with random weights, in float64 so that exactness can be told from rounding."""

from dataclasses import dataclass, fields, replace

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor

from coupled_core.coupling.install import coupling_kwargs

NUM_TEXT, SIDE, BATCH = 6, 4, 3


@dataclass(frozen=True)
class Inputs:
    """One batch: two text streams, one noise."""

    hidden_states: Tensor
    background: Tensor
    entity: Tensor
    pooled: Tensor
    timestep: Tensor

    def to(self, dtype: torch.dtype) -> "Inputs":
        return replace(self, **{f.name: getattr(self, f.name).to(dtype) for f in fields(self)})


def build_transformer() -> FluxTransformer2DModel:
    torch.manual_seed(0)
    model = FluxTransformer2DModel(
        in_channels=8,
        num_layers=2,
        num_single_layers=3,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        pooled_projection_dim=20,
        axes_dims_rope=(4, 6, 6),
    )
    for parameter in model.parameters():
        # Larger than the initialisation, so that text matters and a mistake shows.
        parameter.data.mul_(2.0)
    return model.to(torch.float64).eval().requires_grad_(False)


def build_inputs() -> Inputs:
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(BATCH, *shape, generator=generator, dtype=torch.float64)

    return Inputs(
        hidden_states=draw(SIDE * SIDE, 8),
        background=draw(NUM_TEXT, 24),
        entity=draw(NUM_TEXT, 24),
        pooled=draw(20),
        timestep=torch.full((BATCH,), 0.7, dtype=torch.float64),
    )


def run_stock(model: FluxTransformer2DModel, inputs: Inputs, text: Tensor) -> Tensor:
    return run_with_text(model, inputs, text, None)


def run_coupled(model: FluxTransformer2DModel, inputs: Inputs, beta: Tensor | float) -> Tensor:
    """Run with [background | entity] text; the caller has installed processors that read beta."""
    text = torch.cat([inputs.background, inputs.entity], dim=1)
    weight = torch.as_tensor(beta, dtype=text.dtype)
    return run_with_text(model, inputs, text, coupling_kwargs(weight, NUM_TEXT, NUM_TEXT))


def relative_error(value: Tensor, expected: Tensor) -> float:
    return float((value - expected).norm() / expected.norm())


def run_with_text(
    model: FluxTransformer2DModel, inputs: Inputs, text: Tensor, kwargs: dict[str, object] | None
) -> Tensor:
    side = torch.arange(SIDE)
    velocity: Tensor = model(
        hidden_states=inputs.hidden_states,
        encoder_hidden_states=text,
        pooled_projections=inputs.pooled,
        timestep=inputs.timestep,
        img_ids=torch.cartesian_prod(torch.zeros(1, dtype=torch.int64), side, side),
        txt_ids=torch.zeros(text.shape[1], 3),
        joint_attention_kwargs=kwargs,
        return_dict=False,
    )[0]
    return velocity
