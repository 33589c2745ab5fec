"""Trains the miniature's autoencoder: 64 x 64 pixels to 8 x 32 x 32 latents and back."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional

from coupled_core.research.training.data import SceneSet, to_pixels
from coupled_core.research.training.loop import LoopConfig, train

BATCH_SIZE = 16
KL_WEIGHT = 1e-7


def build_vae() -> AutoencoderKL:
    """Return an untrained autoencoder of FLUX's structure: shifted, no quantisation layers."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(16, 32),
        layers_per_block=1,
        latent_channels=8,
        norm_num_groups=8,
        sample_size=64,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.0,
        scaling_factor=1.0,
    )


def train_vae(
    data: SceneSet, work_dir: Path, num_steps: int, device: torch.device
) -> AutoencoderKL:
    """Train on the pictures, then set shift and scale from their latents."""
    torch.manual_seed(1)
    vae = build_vae().to(device)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=3e-3, betas=(0.9, 0.98), weight_decay=0.0)

    def loss_at(step: int) -> Tensor:
        rows = np.random.default_rng((1, step)).integers(len(data.scenes), size=BATCH_SIZE)
        pixels = to_pixels(data.images[np.sort(rows)]).to(device)
        posterior = vae.encode(pixels).latent_dist
        generator = torch.Generator().manual_seed(step)
        noise = torch.randn(posterior.mean.shape, generator=generator).to(device)
        decoded = vae.decode(posterior.mean + posterior.std * noise).sample
        return reconstruction_loss(decoded, pixels) + KL_WEIGHT * posterior.kl().mean()

    train(LoopConfig("vae", num_steps, ema_decay=0.99), vae, [optimizer], loss_at, work_dir)
    latents = encode_images(vae, data.images[:2000])
    vae.register_to_config(
        shift_factor=round(float(latents.mean()), 6),
        scaling_factor=round(1.0 / float(latents.std()), 6),
    )
    return vae


def reconstruction_loss(decoded: Tensor, pixels: Tensor) -> Tensor:
    """Return L1 of pixels, of their differences (crisp shapes), of 4 x 4 means (right colours)."""
    error = decoded - pixels
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + 0.5 * edges + 2.0 * functional.avg_pool2d(error, 4).abs().mean()


@torch.no_grad()
def encode_images(vae: AutoencoderKL, images: np.ndarray, batch_size: int = 64) -> Tensor:
    """Return the unscaled latent means, float32, (count, 8, 32, 32), on the CPU."""
    parts = [
        vae.encode(to_pixels(images[i : i + batch_size]).to(vae.device)).latent_dist.mean.cpu()
        for i in range(0, len(images), batch_size)
    ]
    return torch.cat(parts)
