"""FLUX.2: one text encoder, no pooled vector, four axes of positions.

Distilled [klein] models read no guidance scale; its base models take classifier-free guidance, and
[dev] has an embedding of the scale.
"""

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from torch import Tensor

from coupled_core.coupling.attention import Attend, Block
from coupled_core.coupling.processors import Flux2SingleProcessor, FluxProcessor
from coupled_core.generation.families.family import (
    Conditioning,
    Family,
    Frame,
    TextEmbedding,
    count_per_text,
    fill_guidance,
)
from coupled_core.generation.families.spec import FLUX_2_DEV, FLUX_2_KLEIN

_NUM_AXES = 4
"""Time, row, column, and place in the text."""


class _Flux2(Family):
    def encode(self, prompt: str, max_sequence_length: int) -> TextEmbedding:
        """Return three layers of the text encoder side by side."""
        prompt_embeds, _ = self.pipeline.encode_prompt(
            prompt, max_sequence_length=max_sequence_length
        )
        return TextEmbedding(prompt_embeds[0].cpu())

    def find_frame(self, width: int, height: int) -> Frame:
        """Return positions (0, row, column, 0), int64."""
        grid = height // self.size_multiple_px, width // self.size_multiple_px
        # Only the shape is read; a batch of one gives one row of positions.
        (ids,) = self.pipeline._prepare_latent_ids(torch.empty(1, 0, *grid))
        return Frame(ids, grid)

    def draw_noise(self, seed: int, width: int, height: int) -> Tensor:
        """See `Family`; it is drawn in patches."""
        grid = height // self.size_multiple_px, width // self.size_multiple_px
        generator = torch.Generator("cpu").manual_seed(seed)
        noise = torch.randn(1, self.num_channels, *grid, generator=generator, dtype=torch.float32)
        packed: Tensor = self.pipeline._pack_latents(noise)
        return packed[0]

    @staticmethod
    def compute_shift(
        scheduler: FlowMatchEulerDiscreteScheduler, num_image_tokens: int, num_steps: int
    ) -> float:
        """See `Family`; fewer steps are shifted further."""
        return float(compute_empirical_mu(num_image_tokens, num_steps))

    @staticmethod
    def build_processor(block: Block, attend: Attend) -> FluxProcessor | Flux2SingleProcessor:
        """See `Family`."""
        return Flux2SingleProcessor(attend) if block.is_single else FluxProcessor(attend)

    def predict_velocity(
        self,
        latents: Tensor,
        timestep: Tensor,
        conditioning: Conditioning,
        frame: Frame,
        guidance_scale: float | None,
    ) -> Tensor:
        """See `Family`; the second of two texts stands where it would stand alone."""
        places = count_per_text(conditioning.text_lengths)
        text_ids = torch.zeros(len(places), _NUM_AXES, dtype=torch.int64)
        # On the last axis, which counts places in a text.
        text_ids[:, -1] = places
        velocity: Tensor = self.transformer(
            hidden_states=latents,
            timestep=timestep.expand(len(latents)).to(latents.dtype) / 1000,
            guidance=fill_guidance(guidance_scale, latents),
            encoder_hidden_states=conditioning.prompt_embeds,
            txt_ids=text_ids.to(latents.device),
            img_ids=frame.ids,
            return_dict=False,
        )[0]
        return velocity

    def unpack(self, latents: Tensor, width: int, height: int) -> Tensor:
        """See `Family`; latents leave the normalisation in which they were denoised."""
        vae = self.pipeline.vae
        grid = height // self.size_multiple_px, width // self.size_multiple_px
        # (R, S_img, channels) to (R, channels, rows, columns).
        patches = latents.transpose(1, 2).reshape(len(latents), -1, *grid)
        mean, variance = (
            rows.view(1, -1, 1, 1).to(patches.device)
            for rows in (vae.bn.running_mean, vae.bn.running_var)
        )
        spread = torch.sqrt(variance + vae.config.batch_norm_eps).to(patches.dtype)
        unpatched: Tensor = self.pipeline._unpatchify_latents(
            patches * spread + mean.to(patches.dtype)
        )
        return unpatched


class Flux2Klein(_Flux2):
    """A `Flux2KleinPipeline`."""

    spec = FLUX_2_KLEIN


class Flux2Dev(_Flux2):
    """A `Flux2Pipeline`."""

    spec = FLUX_2_DEV
