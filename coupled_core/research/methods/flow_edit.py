"""FlowEdit: image 0 moves along the difference of the velocities under its own and another prompt.

"FlowEdit: Inversion-Free Text-Based Editing Using Pre-Trained Flow Models" (Kulikov et al., 2024),
algorithm 1 with n_min = 0, the authors' setting for FLUX: z_src = (1 - sigma) x + sigma eps;
z_tar = z + z_src - x; z += d_sigma (v(z_tar, P_i) - v(z_src, P_0)).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from coupled_core.research.methods.method import Knob, Knobs
from coupled_core.research.methods.stock import StockMethod, StockModel, StockRun

KNOBS = (
    Knob("n_max", 0.0, 1.0, 24 / 28, meaning="share of the steps that edit, the last ones"),
    Knob("n_avg", 1, 3, 1, integer=True, meaning="noises averaged at each step; cost grows with"),
)
GUIDANCE_KNOBS = (
    Knob("source_guidance", 1.0, 5.0, 1.5, meaning="guidance scale of image 0's velocity"),
    Knob("target_guidance", 1.0, 10.0, 5.5, meaning="guidance scale of the edits' velocity"),
)
"""Further knobs of models that read a guidance scale."""

_NOISE_STREAM = 1_000_003
"""Keeps the noises of the steps apart from the sample's first noise, which its seed alone makes."""


def build(model: StockModel) -> StockMethod:
    """Return the method on a model."""
    knobs = KNOBS + (GUIDANCE_KNOBS if model.is_guided else ())
    return StockMethod("flowedit", model, denoise, knobs, main_knob="n_max")


def denoise(run: StockRun, knobs: Knobs) -> Tensor:
    """Make image 0 by the stock pipeline and move a copy of it for every other prompt."""
    num_edited, num_noises = run.count_steps(knobs["n_max"]), round(knobs["n_avg"])
    run.expect(run.num_steps + num_edited * num_noises * (2 if run.model.is_guided else 1))
    sources = run.denoise_sources()
    generators = [torch.Generator("cpu").manual_seed(seed + _NOISE_STREAM) for seed in run.seeds]
    edits = sources[run.sample_of_image[run.edits]]
    for level in range(run.num_steps - num_edited, run.num_steps):
        differences = [
            _difference(run, sources, edits, draw_noises(generators, sources), level, knobs)
            for _ in range(num_noises)
        ]
        edits = run.step(edits, torch.stack(differences).mean(dim=0), level)
    return run.merge(sources, edits)


def draw_noises(generators: Sequence[torch.Generator], like: Tensor) -> Tensor:
    """Return the next noise of each sample, (G, ...): its own stream, whatever the batch."""
    noises = [torch.randn(like.shape[1:], generator=generator) for generator in generators]
    return torch.stack(noises).to(like)


def _difference(
    run: StockRun, sources: Tensor, edits: Tensor, noises: Tensor, level: int, knobs: Knobs
) -> Tensor:
    """Return v(z_tar, P_i) - v(z_src, P_0) for each edit; the second is common to a sample."""
    sample, sigma = run.sample_of_image[run.edits], run.sigmas[level]
    noisy_sources = (1 - sigma) * sources + sigma * noises
    noisy_edits = edits + (noisy_sources - sources)[sample]
    source_text, edit_text = run.images.take(run.sources), run.images.take(run.edits)
    if run.model.is_guided:
        of_source = run.velocity(noisy_sources, source_text, level, knobs["source_guidance"])
        of_edits = run.velocity(noisy_edits, edit_text, level, knobs["target_guidance"])
    else:
        both = torch.cat([noisy_sources, noisy_edits])
        of_both = run.velocity(both, source_text.join(edit_text), level)
        of_source, of_edits = of_both[: len(sources)], of_both[len(sources) :]
    return of_edits - of_source[sample]
