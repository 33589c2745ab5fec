"""FLUX.1: two text encoders, a pooled vector, one embedding of the guidance scale or none."""

import torch
from torch import Tensor

from coupled_core.coupling.attention import Attend, Block
from coupled_core.coupling.processors import FluxProcessor
from coupled_core.generation.families.family import (
    Conditioning,
    Family,
    Frame,
    TextEmbedding,
    fill_guidance,
)
from coupled_core.generation.families.spec import FLUX_1


class Flux1(Family):
    """A `FluxPipeline`."""

    spec = FLUX_1

    def encode(self, prompt: str, max_sequence_length: int) -> TextEmbedding:
        """Return T5's rows and CLIP's pooled vector."""
        prompt_embeds, pooled, _ = self.pipeline.encode_prompt(
            prompt, max_sequence_length=max_sequence_length
        )
        return TextEmbedding(prompt_embeds[0].cpu(), pooled[0].cpu())

    def find_frame(self, width: int, height: int) -> Frame:
        """Return positions (0, row, column), float32."""
        rows, columns = height // self.size_multiple_px, width // self.size_multiple_px
        ids = self.pipeline._prepare_latent_image_ids(1, rows, columns, "cpu", torch.float32)
        return Frame(ids, (rows, columns))

    @staticmethod
    def build_processor(block: Block, attend: Attend) -> FluxProcessor:
        """See `Family`."""
        return FluxProcessor(attend)

    def predict_velocity(
        self,
        latents: Tensor,
        timestep: Tensor,
        conditioning: Conditioning,
        frame: Frame,
        guidance_scale: float | None,
    ) -> Tensor:
        """See `Family`; all texts stand at position 0."""
        num_rows = latents.shape[0]
        velocity: Tensor = self.transformer(
            hidden_states=latents,
            # Divided after the cast, as in the pipeline: in bfloat16 the order shows in the last
            # digit.
            timestep=timestep.expand(num_rows).to(latents.dtype) / 1000,
            guidance=fill_guidance(guidance_scale, latents),
            pooled_projections=conditioning.pooled,
            encoder_hidden_states=conditioning.prompt_embeds,
            txt_ids=latents.new_zeros(conditioning.prompt_embeds.shape[1], 3),
            img_ids=frame.ids.to(latents.dtype),
            return_dict=False,
        )[0]
        return velocity

    def unpack(self, latents: Tensor, width: int, height: int) -> Tensor:
        """See `Family`."""
        config = self.pipeline.vae.config
        scale = self.pipeline.vae_scale_factor
        unpacked: Tensor = self.pipeline._unpack_latents(latents, height, width, scale)
        scaled: Tensor = unpacked / config.scaling_factor + config.shift_factor
        return scaled
