"""The controls that need no attention: same seed, prompt switch, latent pull.

A method that does not beat all three is not worth its name.
"""

from torch import Tensor

from coupled_core.coupling.latent_pull import pull_together
from coupled_core.research.methods.method import Knob, Knobs
from coupled_core.research.methods.stock import StockMethod, StockModel, StockRun

SWITCH_KNOBS = (
    Knob("switch", 0.0, 1.0, 0.1, meaning="share of the steps that read the background prompt"),
)
PULL_KNOBS = (
    Knob("strength", 0.0, 1.0, 0.3, meaning="0 leaves the predictions alone, 1 makes them equal"),
    Knob("stop", 0.0, 1.0, 0.5, meaning="share of the steps that pull, from the first on"),
)


def build_random_seed(model: StockModel) -> StockMethod:
    """Return the paper's baseline: each full prompt from the same noise by the stock pipeline."""
    return StockMethod("random-seed", model, denoise_singly)


def build_prompt_switch(model: StockModel) -> StockMethod:
    """Return the trivial control: the background prompt first, then each full prompt."""
    return StockMethod("prompt-switch", model, switch_prompts, SWITCH_KNOBS, main_knob="switch")


def build_latent_pull(model: StockModel) -> StockMethod:
    """Return the method whose steps draw the predicted clean latents of a group together."""
    return StockMethod("latent-pull", model, denoise_pulled, PULL_KNOBS, main_knob="strength")


def denoise_singly(run: StockRun, _: Knobs) -> Tensor:
    """Denoise every image by itself."""
    run.expect(run.num_steps)
    return run.denoise(run.noise[run.sample_of_image], run.images)


def switch_prompts(run: StockRun, knobs: Knobs) -> Tensor:
    """Denoise each sample once before the switch and every image by itself after it.

    The images of a group are one image until the switch, so it costs less than the stock pipeline.
    """
    run.expect(run.num_steps)
    switch = run.count_steps(knobs["switch"])
    shared = run.noise
    if switch:
        shared = run.denoise(shared, run.encode_backgrounds(), last=switch)
    return run.denoise(shared[run.sample_of_image], run.images, first=switch)


def denoise_pulled(run: StockRun, knobs: Knobs) -> Tensor:
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
