"""Qwen-Image: two streams in all blocks, texts without padding, rotary positions built inside."""

from typing import Any

import torch
from torch import Tensor

from coupled_core.coupling.attention import Attend, Block
from coupled_core.coupling.processors import QwenProcessor
from coupled_core.generation.families.family import (
    Conditioning,
    Family,
    Frame,
    TextEmbedding,
    count_per_text,
)
from coupled_core.generation.families.spec import QWEN_IMAGE


class QwenImage(Family):
    """A `QwenImagePipeline`."""

    spec = QWEN_IMAGE
    empty_prompt = " "  # as its model card has it

    def encode(self, prompt: str, max_sequence_length: int) -> TextEmbedding:
        """Return the last layer of Qwen2.5-VL, without the words that the pipeline puts before."""
        prompt_embeds, _ = self.pipeline.encode_prompt(
            prompt, max_sequence_length=max_sequence_length
        )
        return TextEmbedding(prompt_embeds[0].cpu())

    def find_frame(self, width: int, height: int) -> Frame:
        """Return each token's place in the grid, row by row, int64, (S_img, 1)."""
        rows, columns = height // self.size_multiple_px, width // self.size_multiple_px
        return Frame(torch.arange(rows * columns).unsqueeze(1), (rows, columns))

    @staticmethod
    def build_processor(block: Block, attend: Attend) -> QwenProcessor:
        """See `Family`."""
        return QwenProcessor(attend)

    def predict_velocity(
        self,
        latents: Tensor,
        timestep: Tensor,
        conditioning: Conditioning,
        frame: Frame,
        guidance_scale: float | None,
    ) -> Tensor:
        """See `Family`; the second of two texts stands where it would stand alone."""
        num_rows = len(latents)
        rows, columns = frame.grid
        places: dict[str, Any] = {}
        if conditioning.weights is not None:
            texts = count_per_text(conditioning.text_lengths)
            places["text_places"] = texts.to(latents.device)
        if len(frame.ids) < rows * columns:
            places["image_places"] = frame.ids[:, 0]
        velocity: Tensor = self.transformer(
            hidden_states=latents,
            timestep=timestep.expand(num_rows).to(latents.dtype) / 1000,
            encoder_hidden_states=conditioning.prompt_embeds,
            encoder_hidden_states_mask=conditioning.mask,
            img_shapes=[[(1, rows, columns)]] * num_rows,
            attention_kwargs=places,
            return_dict=False,
        )[0]
        return velocity

    def combine(self, conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
        """See `Family`; each token keeps the length that it has without guidance."""
        guided = super().combine(conditional, unconditional, scale)
        lengths = [each.norm(dim=-1, keepdim=True) for each in (conditional, guided)]
        rescaled: Tensor = guided * (lengths[0] / lengths[1])
        return rescaled

    def unpack(self, latents: Tensor, width: int, height: int) -> Tensor:
        """See `Family`; latents leave the normalisation in which they were denoised."""
        config, scale = self.pipeline.vae.config, self.pipeline.vae_scale_factor
        unpacked: Tensor = self.pipeline._unpack_latents(latents, height, width, scale)[:, :, 0]
        mean, spread = (
            unpacked.new_tensor(each).view(1, -1, 1, 1)
            for each in (config.latents_mean, config.latents_std)
        )
        return unpacked * spread + mean

    def decode(self, unpacked: Tensor) -> Tensor:
        """See `Family`; an image is a film of one frame to its autoencoder."""
        return super().decode(unpacked.unsqueeze(2))[:, :, 0]
