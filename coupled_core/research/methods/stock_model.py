"""A stock FLUX pipeline with what every baseline asks of it; nothing of the model is changed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from torch import Tensor

from coupled_core.generation.batch import PromptEncoder, predict_velocity
from coupled_core.generation.batch import TextRows as BatchTexts
from coupled_core.generation.generator import decode_latents
from coupled_core.generation.provenance import GenerationProvenance, check_size
from coupled_core.records import Sample


@dataclass(frozen=True)
class TextRows:
    """What the transformer reads beside latents: one prompt a row of the batch, on the device."""

    prompt_embeds: Tensor
    """T5, (R, max_sequence_length, joint_attention_dim)."""
    pooled_prompt_embeds: Tensor
    """CLIP, (R, pooled_projection_dim)."""
    sample_of_row: Tensor
    """(R,), int64 on the CPU: the sample, by position, that a row is computed for."""

    def take(self, rows: Tensor) -> "TextRows":
        """Return some rows; `rows` holds their indices."""
        return TextRows(
            self.prompt_embeds[rows], self.pooled_prompt_embeds[rows], self.sample_of_row[rows]
        )

    def join(self, other: "TextRows") -> "TextRows":
        """Return these rows followed by the other's."""
        return TextRows(
            torch.cat([self.prompt_embeds, other.prompt_embeds]),
            torch.cat([self.pooled_prompt_embeds, other.pooled_prompt_embeds]),
            torch.cat([self.sample_of_row, other.sample_of_row]),
        )


class StockModel:
    """One loaded pipeline, shared by all methods."""

    def __init__(self, pipeline: FluxPipeline, provenance: GenerationProvenance) -> None:
        self.pipeline = pipeline
        self.provenance = provenance
        self._encoder = PromptEncoder(pipeline, provenance.max_sequence_length)

    @property
    def transformer(self) -> FluxTransformer2DModel:
        """The FLUX transformer, on its device or under an offload hook."""
        return self.pipeline.transformer

    @property
    def is_guided(self) -> bool:
        """Whether the model reads a guidance scale."""
        return bool(self.transformer.config.guidance_embeds)

    def size_of(self, sample: Sample) -> tuple[int, int]:
        """Return width and height in pixels; raise ConfigError where the latents would not pack."""
        multiple = self.pipeline.vae_scale_factor * 2
        width = check_size("width", sample.group.width or self.provenance.width, multiple)
        return width, check_size("height", sample.group.height or self.provenance.height, multiple)

    def encode(self, prompts: Sequence[str], sample_of_row: Tensor) -> TextRows:
        """Return one row a prompt; each distinct prompt goes through the text encoders once."""
        texts = self._encoder.encode(prompts)
        device, dtype = self.pipeline._execution_device, self.transformer.dtype
        return TextRows(
            torch.stack([text.prompt_embeds for text in texts]).to(device, dtype),
            torch.stack([text.pooled_prompt_embeds for text in texts]).to(device, dtype),
            sample_of_row,
        )

    def tokenize(self, prompt: str) -> list[int]:
        """Return the T5 token ids of a prompt with its end token, without padding."""
        length = self.provenance.max_sequence_length
        encoded = self.pipeline.tokenizer_2(prompt, max_length=length, truncation=True)
        return list(encoded.input_ids)

    def predict(
        self,
        latents: Tensor,
        text: TextRows,
        timestep: Tensor,
        image_ids: Tensor,
        guidance_scale: float | None = None,
    ) -> Tensor:
        """Return the velocity, noise minus image, as `FluxPipeline` asks for it.

        Args:
            latents: (R, S_img, in_channels).
            text: R rows.
            timestep: 1000 sigma, 0-d.
            image_ids: (S_img, 3).
            guidance_scale: None: the run's. Models without a guidance embedding read none.

        Returns:
            Like `latents`, in their dtype.
        """
        scale = self.provenance.guidance_scale if guidance_scale is None else guidance_scale
        velocity = predict_velocity(
            self.transformer,
            latents.to(self.transformer.dtype),
            timestep,
            BatchTexts(text.prompt_embeds, text.pooled_prompt_embeds, None),
            image_ids,
            scale if self.is_guided else None,
        )
        return velocity.to(latents.dtype)

    def decode(self, latents: Tensor, width: int, height: int) -> list[np.ndarray | None]:
        """Return uint8 images (height, width, 3), None where one is not finite; free the parts."""
        images = decode_latents(self.pipeline, latents, width, height)
        self.pipeline.maybe_free_model_hooks()
        return images
