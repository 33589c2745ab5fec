"""Prompt switch: the background prompt for the first steps, then each full prompt.

The trivial control: the images of a group are one image until the switch, so it costs less than the
stock pipeline. A method that does not beat it is not worth its name.
"""

from torch import Tensor

from coupled_core.research.methods.method import Knob, Knobs
from coupled_core.research.methods.stock_model import StockModel
from coupled_core.research.methods.stock_run import StockMethod, StockRun

KNOBS = (
    Knob("switch", 0.0, 1.0, 0.1, meaning="share of the steps that read the background prompt"),
)


def build(model: StockModel) -> StockMethod:
    """Return the method on a model."""
    return StockMethod("prompt-switch", model, denoise, KNOBS, main_knob="switch")


def denoise(run: StockRun, knobs: Knobs) -> Tensor:
    """Denoise each sample once before the switch and every image by itself after it."""
    run.expect(run.num_steps)
    switch = run.count_steps(knobs["switch"])
    shared = run.noise
    if switch:
        shared = run.denoise(shared, run.encode_backgrounds(), last=switch)
    return run.denoise(shared[run.sample_of_image], run.images, first=switch)
