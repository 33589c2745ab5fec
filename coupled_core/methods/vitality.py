"""Measures how much each layer of a model matters: what its images become without it.

"Stable Flow: Vital Layers for Training-Free Image Editing" (Avrahami et al., 2024), section 3.1.
The paper compares images with DINOv2; here structural similarity does it, which needs no further
model and is not one of the judges.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from diffusers import FluxTransformer2DModel

from coupled_core.methods.attention_control import list_blocks
from coupled_core.methods.random_seed import denoise
from coupled_core.methods.stock_model import StockModel
from coupled_core.methods.stock_run import StockRun
from coupled_core.records import Sample
from coupled_core.scoring.metrics import background_ssim


def measure_vitality(
    model: StockModel,
    samples: Sequence[Sample],
    on_block: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Return 1 - mean structural similarity to the whole model's images, by block, in [0, 2].

    Args:
        model: the model; as it was afterwards.
        samples: all of the run's size; every one of their images counts once.
        on_block: called with (blocks done, blocks in all).
    """
    whole = _generate(model, samples)
    blocks = list_blocks(model.transformer)
    vitality = {}
    for i, block in enumerate(blocks):
        with bypassed(model.transformer, block):
            without = _generate(model, samples)
        pairs = zip(whole, without, strict=True)
        vitality[block] = 1.0 - float(np.mean([_compare(a, b) for a, b in pairs]))
        if on_block is not None:
            on_block(i + 1, len(blocks))
    return vitality


@contextmanager
def bypassed(transformer: FluxTransformer2DModel, block: str) -> Iterator[None]:
    """Hand a block's input on as its output for the length of a `with` block."""

    def hand_on(_: torch.nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
        return kwargs["encoder_hidden_states"], kwargs["hidden_states"]

    hook = transformer.get_submodule(block).register_forward_hook(hand_on, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


@torch.no_grad()
def _generate(model: StockModel, samples: Sequence[Sample]) -> list[np.ndarray | None]:
    width, height = model.provenance.width, model.provenance.height
    run = StockRun(model, samples, width, height)
    return model.decode(denoise(run, {}), width, height)


def _compare(whole: np.ndarray | None, without: np.ndarray | None) -> float:
    """Return the structural similarity; a model that breaks down without a layer has none."""
    if whole is None or without is None:
        return 0.0
    return background_ssim([whole, without], np.zeros(whole.shape[:2], dtype=bool))
