"""RF-Inversion: image 0 is inverted to noise and denoised again under the other prompts.

"Semantic Image Inversion and Editing using Rectified Stochastic Differential Equations" (Rout et
al., 2024), equations 8 and 15, with sigma as time: both the inversion (empty prompt, no guidance)
and the edit are steered by the straight line to where they should end.
"""

import torch
from torch import Tensor

from coupled_core.research.methods.method import Knob, Knobs
from coupled_core.research.methods.stock import StockMethod, StockModel, StockRun

KNOBS = (
    Knob("gamma", 0.0, 1.0, 0.5, meaning="pull of the inversion towards the sample's noise"),
    Knob("eta", 0.0, 1.0, 0.9, meaning="pull of the edit towards image 0"),
    Knob("start", 0.0, 0.5, 0.0, meaning="share of the steps before the pull of the edit begins"),
    Knob("stop", 0.0, 1.0, 0.5, meaning="share of the steps after which it ends"),
)


def build(model: StockModel) -> StockMethod:
    """Return the method on a model."""
    return StockMethod("rf-inversion", model, denoise, KNOBS, main_knob="stop")


def denoise(run: StockRun, knobs: Knobs) -> Tensor:
    """Make image 0 by the stock pipeline, invert it, and edit it once for every other prompt."""
    run.expect(3 * run.num_steps)
    sources = run.denoise_sources()
    inverted = invert(run, sources, knobs["gamma"])
    steered = range(run.count_steps(knobs["start"]), run.count_steps(knobs["stop"]))
    return run.merge(sources, _edit(run, sources, inverted, knobs["eta"], steered))


def invert(run: StockRun, sources: Tensor, gamma: float) -> Tensor:
    """Return the noise (G, ...) of the sources; gamma = 1 ends at the sample's own noise."""
    empty = run.model.encode([""] * len(sources), torch.arange(len(sources)))
    latents = sources
    for level in range(run.num_steps, 0, -1):
        sigma = run.sigmas[level]
        velocity = run.velocity(latents, empty, level, guidance_scale=0.0)
        straight = (run.noise - latents) / (1 - sigma)
        velocity = velocity + gamma * (straight - velocity)
        latents = latents + (run.sigmas[level - 1] - sigma) * velocity
    return latents


def _edit(run: StockRun, sources: Tensor, inverted: Tensor, eta: float, steered: range) -> Tensor:
    sample = run.sample_of_image[run.edits]
    text, latents, goal = run.images.take(run.edits), inverted[sample], sources[sample]
    for level in range(run.num_steps):
        velocity = run.velocity(latents, text, level)
        if level in steered:
            straight = (latents - goal) / run.sigmas[level]
            velocity = velocity + eta * (straight - velocity)
        latents = run.step(latents, velocity, level)
    return latents
