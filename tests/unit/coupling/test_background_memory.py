"""Computing the region's tokens alone must equal computing all and throwing the others away."""

import pytest
import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor

from coupled_core.coupling.background_memory import (
    BackgroundMemory,
    recall_background,
    remember_background,
)
from coupled_core.coupling.install import coupling_kwargs
from coupled_core.coupling.processors import (
    CoupledProcessor,
    LogBiasDoubleProcessor,
    StockProcessor,
    TwoBranchSingleProcessor,
)
from coupled_core.coupling.weighted_attention import TextLayout
from tests.unit.coupling.small_flux import NUM_TEXT, SIDE, Inputs, relative_error, run_stock

INSIDE = torch.tensor([1, 2, 5, 6, 9])
OUTSIDE = torch.tensor([i for i in range(SIDE * SIDE) if i not in INSIDE])
BETA = torch.tensor(0.4, dtype=torch.float64)


class LiteralProcessor(CoupledProcessor):
    """All tokens computed; keys and values outside the region overwritten by the background's."""

    needs_beta = False

    def __init__(self, inner: CoupledProcessor, remembered: tuple[Tensor, Tensor]) -> None:
        self.inner, self.remembered = inner, remembered

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, beta: Tensor | None, layout: TextLayout
    ) -> Tensor:
        key, value = key.clone(), value.clone()
        rows = key.shape[2] - SIDE * SIDE + OUTSIDE
        for own, background in zip((key, value), self.remembered, strict=True):
            own[:, :, rows] = background[:, :, OUTSIDE]
        return self.inner.attend(query, key, value, beta, layout)


def run(
    model: FluxTransformer2DModel, inputs: Inputs, tokens: Tensor, *, is_coupled: bool
) -> Tensor:
    """The three rows of `inputs` as images, `tokens` of each."""
    columns = torch.arange(SIDE * SIDE)
    ids = torch.stack([0 * columns, columns // SIDE, columns % SIDE], dim=1).to(torch.float64)
    text = [inputs.background, inputs.entity] if is_coupled else [inputs.entity]
    return model(
        hidden_states=inputs.hidden_states[:, tokens],
        encoder_hidden_states=torch.cat(text, dim=1),
        pooled_projections=inputs.pooled,
        timestep=inputs.timestep,
        img_ids=ids[tokens],
        txt_ids=torch.zeros(NUM_TEXT * len(text), 3, dtype=torch.float64),
        joint_attention_kwargs=coupling_kwargs(BETA, NUM_TEXT, NUM_TEXT) if is_coupled else None,
        return_dict=False,
    )[0]


def remember(model: FluxTransformer2DModel, inputs: Inputs) -> tuple[Tensor, BackgroundMemory]:
    first = Inputs(**{name: rows[:1] for name, rows in vars(inputs).items()})
    with remember_background(model, NUM_TEXT) as memory:
        velocity = run_stock(model, first, first.background)
    return velocity, memory


@pytest.mark.parametrize("is_coupled", [False, True])
def test_the_regions_tokens_alone_equal_all_tokens_with_the_background_put_in(
    transformer: FluxTransformer2DModel, inputs: Inputs, is_coupled: bool
) -> None:
    _, memory = remember(transformer, inputs)
    with recall_background(transformer, memory, OUTSIDE, is_coupled=is_coupled):
        alone = run(transformer, inputs, INSIDE, is_coupled=is_coupled)

    def inner(name: str) -> CoupledProcessor:
        if not is_coupled:
            return StockProcessor()
        return (
            TwoBranchSingleProcessor() if name.startswith("single_") else LogBiasDoubleProcessor()
        )

    transformer.set_attn_processor(
        {n: LiteralProcessor(inner(n), kept) for n, kept in memory.items()}
    )
    everything = run(transformer, inputs, torch.arange(SIDE * SIDE), is_coupled=is_coupled)
    assert relative_error(alone, everything[:, INSIDE]) < 1e-12


def test_remembering_changes_nothing_and_keeps_every_blocks_image_tokens(
    transformer: FluxTransformer2DModel, inputs: Inputs
) -> None:
    velocity, memory = remember(transformer, inputs)
    first = Inputs(**{name: rows[:1] for name, rows in vars(inputs).items()})
    assert relative_error(velocity, run_stock(transformer, first, first.background)) < 1e-14
    assert set(memory) == set(transformer.attn_processors)
    assert {tuple(key.shape) for key, _ in memory.values()} == {(1, 2, SIDE * SIDE, 16)}


def test_processors_come_back_after_an_exception(
    transformer: FluxTransformer2DModel, inputs: Inputs
) -> None:
    before = transformer.attn_processors
    with pytest.raises(RuntimeError, match="stop"), remember_background(transformer, NUM_TEXT):
        raise RuntimeError("stop")
    _, memory = remember(transformer, inputs)
    with (
        pytest.raises(RuntimeError, match="stop"),
        recall_background(transformer, memory, OUTSIDE, is_coupled=True),
    ):
        raise RuntimeError("stop")
    assert all(transformer.attn_processors[name] is processor for name, processor in before.items())
