"""Prompt-to-Prompt on FLUX: edits take over the attention of image 0 in the first steps."""

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Literal

from torch import Tensor

from coupled_core.research.methods.attention_control import (
    TokenMap,
    align_tokens,
    attend_with_source_map,
    attend_with_source_rows,
    controlled_attention,
)
from coupled_core.research.methods.method import Knob, Knobs
from coupled_core.research.methods.stock_model import StockModel
from coupled_core.research.methods.stock_run import StockMethod, StockRun

EXACT_KNOBS = (
    Knob("tau_c", 0.0, 1.0, 0.8, meaning="share of the steps that take image 0's text attention"),
    Knob("tau_s", 0.0, 1.0, 0.4, meaning="share of the steps that take its image attention"),
)
EFFICIENT_KNOBS = (
    Knob("tau_s", 0.0, 1.0, 0.2, meaning="share of the steps that take image 0's queries and keys"),
)


def build(model: StockModel, variant: Literal["exact", "efficient"] = "exact") -> StockMethod:
    """Return the method on a model."""
    if variant == "exact":
        return StockMethod("p2p", model, denoise_exactly, EXACT_KNOBS, main_knob="tau_s")
    return StockMethod("p2p-efficient", model, denoise_efficiently, EFFICIENT_KNOBS, "tau_s")


def denoise_exactly(run: StockRun, knobs: Knobs) -> Tensor:
    """Denoise source and edits side by side, exchanging blocks of the attention map."""
    run.expect(run.num_steps)
    token_map = align_prompts(run)
    text_steps, image_steps = run.count_steps(knobs["tau_c"]), run.count_steps(knobs["tau_s"])
    latents = run.noise[run.sample_of_image]
    for level in range(run.num_steps):
        with _exchange_maps(run, token_map if level < text_steps else None, level < image_steps):
            latents = run.denoise(latents, run.images, level, level + 1)
    return latents


def denoise_efficiently(run: StockRun, knobs: Knobs) -> Tensor:
    """Denoise source and edits side by side, copying queries and keys of the image rows."""
    run.expect(run.num_steps)
    stop = run.count_steps(knobs["tau_s"])
    attend = partial(
        attend_with_source_rows,
        num_text=run.images.prompt_embeds.shape[1],
        source_of_row=run.source_of_image,
        take=(True, True, False),
    )
    latents = run.noise[run.sample_of_image]
    with controlled_attention(run.model.transformer, attend):
        latents = run.denoise(latents, run.images, last=stop)
    return run.denoise(latents, run.images, first=stop)


def align_prompts(run: StockRun) -> TokenMap:
    """Return the map from each image's source to its own prompt, in the order of the images."""
    tokens = [run.model.tokenize(prompt) for prompt in run.prompts]
    num_tokens = run.images.prompt_embeds.shape[1]
    sources = run.source_of_image.tolist()
    maps = [
        align_tokens(tokens[source], own, num_tokens)
        for source, own in zip(sources, tokens, strict=True)
    ]
    return TokenMap.stack(maps).to(run.noise.device)


def _exchange_maps(
    run: StockRun, token_map: TokenMap | None, replace_image_map: bool
) -> AbstractContextManager[None]:
    if token_map is None and not replace_image_map:
        return nullcontext()
    attend = partial(
        attend_with_source_map,
        num_text=run.images.prompt_embeds.shape[1],
        source_of_row=run.source_of_image,
        token_map=token_map,
        replace_image_map=replace_image_map,
    )
    return controlled_attention(run.model.transformer, attend)
