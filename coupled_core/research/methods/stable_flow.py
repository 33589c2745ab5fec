"""Stable Flow: edits attend with image 0's keys and values in the model's vital layers.

"Stable Flow: Vital Layers for Training-Free Image Editing" (Avrahami et al., 2024), in all blocks
and all steps that the knobs name; `vitality` says which layers come first.
"""

from functools import partial

from torch import Tensor

from coupled_core.research.methods.attention_control import (
    attend_with_source_rows,
    controlled_attention,
)
from coupled_core.research.methods.method import Knob, Knobs
from coupled_core.research.methods.stock import StockMethod, StockModel, StockRun
from coupled_core.research.methods.vitality import VitalLayers, find_vital_layers


def build(model: StockModel) -> StockMethod:
    """Return the method on a model with its layers in order of vitality."""
    layers = find_vital_layers(model)
    knobs = (
        Knob(
            "num_layers",
            0,
            len(layers.ranked),
            layers.num_vital,
            integer=True,
            meaning="layers that take image 0's keys and values, the most vital ones",
        ),
        Knob("stop", 0.0, 1.0, 1.0, meaning="share of the steps that do so, from the first on"),
    )
    denoise_model = partial(denoise, layers=layers)
    return StockMethod("stable-flow", model, denoise_model, knobs, main_knob="stop")


def denoise(run: StockRun, knobs: Knobs, layers: VitalLayers) -> Tensor:
    """Denoise source and edits side by side, copying keys and values of the image rows."""
    run.expect(run.num_steps)
    stop = run.count_steps(knobs["stop"])
    blocks = layers.ranked[: round(knobs["num_layers"])]
    attend = partial(
        attend_with_source_rows,
        num_text=run.images.prompt_embeds.shape[1],
        source_of_row=run.source_of_image,
        take=(False, True, True),
    )
    latents = run.noise[run.sample_of_image]
    with controlled_attention(run.model.transformer, attend, blocks):
        latents = run.denoise(latents, run.images, last=stop)
    return run.denoise(latents, run.images, first=stop)
