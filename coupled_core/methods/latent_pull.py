"""Latent pull: every step draws the predicted clean latents of a group together.

Coupled sampling of independent images, after "Coupled Diffusion Sampling for Training-Free
Multi-View Image Editing" (Alzayer et al., 2025), with the group's mean as what they are drawn to:
x0_i += strength (mean_j x0_j - x0_i), where x0 = x - sigma v.
"""

from torch import Tensor

from coupled_core.methods.method import Knob, Knobs
from coupled_core.methods.stock_method import StockMethod
from coupled_core.methods.stock_model import StockModel
from coupled_core.methods.stock_run import StockRun

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
            sigma = run.sigmas[level]
            clean = latents - sigma * velocity
            pull = knobs["strength"] * (average_over_samples(clean, run.sample_of_image) - clean)
            velocity = velocity - pull / sigma
        latents = run.step(latents, velocity, level)
    return latents


def average_over_samples(rows: Tensor, sample_of_row: Tensor) -> Tensor:
    """Return for each row the mean of the rows of its sample."""
    samples = sample_of_row.to(rows.device)
    counts = samples.bincount().to(rows.dtype).reshape(-1, *[1] * (rows.ndim - 1))
    totals = rows.new_zeros(len(counts), *rows.shape[1:]).index_add_(0, samples, rows)
    return (totals / counts)[samples]
