"""Prompt-to-Prompt on FLUX: edits take over the attention of image 0 in the first steps."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from coupled_core.coupling.partial_attention import attend_with_lse
from coupled_core.research.methods.attention_control import (
    attend_with_source_rows,
    controlled_attention,
)
from coupled_core.research.methods.method import Knob, Knobs
from coupled_core.research.methods.stock import StockMethod, StockModel, StockRun


@dataclass(frozen=True)
class TokenMap:
    """Correspondence of source and target text tokens, one a row of the batch.

    Where both prompts are the same, the identity.
    """

    from_source: Tensor
    """(B, S_txt, S_txt): share of source token s's attention that target token t takes over, in
    [0, 1]."""
    keeps_own: Tensor
    """(B, S_txt): 1 for target tokens without counterpart, which keep their attention, else 0."""

    @classmethod
    def stack(cls, maps: Sequence["TokenMap"]) -> "TokenMap":
        """Join rows to a batch."""
        return cls(
            torch.cat([one.from_source for one in maps]), torch.cat([one.keeps_own for one in maps])
        )

    def to(self, device: torch.device) -> "TokenMap":
        """Return the map on a device."""
        return TokenMap(self.from_source.to(device), self.keeps_own.to(device))


def align_tokens(source: Sequence[int], target: Sequence[int], num_tokens: int) -> TokenMap:
    """Align two prompts as Prompt-to-Prompt does for word swaps and refinements.

    Equal tokens correspond. So do replaced stretches: token by token where they are equally long,
    else each target token takes an equal share of every source token, and attention is neither
    lost nor gained. Inserted tokens keep their own attention. FLUX attends to padding, so pads
    correspond too, in order.

    Args:
        source: token ids without padding, at most `num_tokens`.
        target: likewise.
        num_tokens: length of the padded text stream, S_txt.

    Returns:
        A map of batch size 1, float32 on the CPU.
    """
    from_source, keeps_own = torch.zeros(num_tokens, num_tokens), torch.ones(num_tokens)
    matcher = SequenceMatcher(None, list(source), list(target), autojunk=False)
    num_pads = num_tokens - max(len(source), len(target))
    pads = ("equal", len(source), len(source) + num_pads, len(target), len(target) + num_pads)
    for kind, s_first, s_last, t_first, t_last in [*matcher.get_opcodes(), pads]:
        num_source, num_target = s_last - s_first, t_last - t_first
        if kind in ("insert", "delete"):
            continue
        shares = (
            torch.eye(num_source)
            if num_source == num_target
            else torch.full((num_source, num_target), 1 / num_target)
        )
        from_source[s_first:s_last, t_first:t_last] = shares
        keeps_own[t_first:t_last] = 0.0
    return TokenMap(from_source.unsqueeze(0), keeps_own.unsqueeze(0))


EXACT_KNOBS = (
    Knob("tau_c", 0.0, 1.0, 0.8, meaning="share of the steps that take image 0's text attention"),
    Knob("tau_s", 0.0, 1.0, 0.4, meaning="share of the steps that take its image attention"),
)
EFFICIENT_KNOBS = (
    Knob("tau_s", 0.0, 1.0, 0.2, meaning="share of the steps that take image 0's queries and keys"),
)


def build_exact(model: StockModel) -> StockMethod:
    """Return the method that exchanges blocks of the attention map."""
    return StockMethod("p2p", model, denoise_exactly, EXACT_KNOBS, main_knob="tau_s")


def build_efficient(model: StockModel) -> StockMethod:
    """Return the method that copies queries and keys, and never forms a map."""
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


def attend_with_source_map(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    num_text: int,
    source_of_row: Tensor,
    token_map: TokenMap | None,
    replace_image_map: bool,
) -> Tensor:
    """Attend with blocks of the image rows' attention map exchanged for the source's.

    FLUX has one softmax over text and image keys: exchanging one of its two blocks alone leaves a
    map whose rows do not sum to one, so they are scaled until they do. The map over image keys is
    never formed: the source's map times the edit's values is an attention of the source's queries
    and keys, and its log-sum-exp says what share of the whole map it is.

    Args:
        query, key, value, num_text, source_of_row: as of `attend_with_source_rows`.
        token_map: exchanges the image -> text block, token by token; None leaves it alone.
        replace_image_map: exchanges the image -> image block.
    """
    text_rows = scaled_dot_product_attention(query[:, :, :num_text], key, value)
    query, key_text, key_image = query[:, :, num_text:], key[:, :, :num_text], key[:, :, num_text:]
    value_text, value_image = value[:, :, :num_text], value[:, :, num_text:]

    logits = (query @ key_text.transpose(-1, -2)).float() * query.shape[-1] ** -0.5
    to_image, image_lse = attend_with_lse(query, key_image, value_image)
    whole = torch.logaddexp(logits.logsumexp(dim=-1), image_lse)
    text_map, image_share = (logits - whole.unsqueeze(-1)).exp(), (image_lse - whole).exp()

    if token_map is not None:
        own = text_map * token_map.keeps_own[:, None, None, :]
        text_map = text_map[source_of_row] @ token_map.from_source.unsqueeze(1) + own
    if replace_image_map:
        source_query, source_key = query[source_of_row], key_image[source_of_row]
        to_image, _ = attend_with_lse(source_query, source_key, value_image)
        image_share = image_share[source_of_row]
    total = text_map @ value_text.to(text_map.dtype) + image_share.unsqueeze(-1) * to_image
    image_rows = total / (text_map.sum(dim=-1) + image_share).unsqueeze(-1)
    return torch.cat([text_rows, image_rows.to(text_rows.dtype)], dim=2)
