"""Latent pull: every step draws the predicted clean latents of a group together."""

from torch import Tensor

from coupled_core.coupling.latent_pull import pull_together
from coupled_core.research.methods.method import Knob, Knobs
from coupled_core.research.methods.stock_model import StockModel
from coupled_core.research.methods.stock_run import StockMethod, StockRun

KNOBS = (
    Knob("strength", 0.0, 1.0, 0.3, meaning="0 leaves the predictions alone, 1 makes them equal"),
    Knob("stop", 0.0, 1.0, 0.5, meaning="share of the steps that pull, from the first on"),
)


def build(model: StockModel) -> StockMethod:
    """Return the method on a model."""
    return StockMethod("latent-pull", model, denoise, KNOBS, main_knob="strength")


def denoise(run: StockRun, knobs: Knobs) -> Tensor:
    """Denoise all images side by side."""
    run.expect(run.num_steps)
    stop = run.count_steps(knobs["stop"])
    latents = run.noise[run.sample_of_image]
    for level in range(run.num_steps):
        velocity = run.velocity(latents, run.images, level)
        if level < stop:
            velocity = pull_together(
                latents, velocity, run.sigmas[level], run.sample_of_image, knobs["strength"]
            )
        latents = run.step(latents, velocity, level)
    return latents
