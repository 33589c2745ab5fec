"""Trains the miniature's FLUX: transformer and both text encoders together, by flow matching."""

from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
)
from torch import Tensor, nn
from transformers import CLIPTokenizer, T5TokenizerFast

from coupled_core.research.drawn_world.captions import write_caption
from coupled_core.research.training.data import SceneSet
from coupled_core.research.training.loop import LoopConfig, build_optimizers, train
from coupled_core.research.training.text import (
    MAX_TOKENS,
    TEXT_WIDTH,
    build_clip_text,
    build_t5,
    build_t5_tokenizer,
    sample_captions,
    train_clip_tokenizer,
)
from coupled_core.research.training.vae import encode_images

BATCH_SIZE = 32
ENTITY_WEIGHT = 9.0
"""Extra weight of the loss on tokens that show the entity: it covers 6 to 10 % of the frame."""
ENTITY_CAPTION_SHARE = 0.15
GRID = 16  # tokens a side
# Windows of the picture around entities cost 0.4 times a step, and position is in the rotary
# embedding, so what is learned there holds in the whole picture. Training sees nothing else at
# first, then every other step until the learning rate falls.
WINDOW = 10
WINDOW_ONLY_STEPS = 1440
WINDOW_SHARE = 0.7


class Generator(nn.Module):
    """FLUX's three trained parts."""

    def __init__(self, tokenizer: CLIPTokenizer, tokenizer_2: T5TokenizerFast) -> None:
        super().__init__()
        self.tokenizer, self.tokenizer_2 = tokenizer, tokenizer_2
        self.text_encoder = build_clip_text(tokenizer)
        self.text_encoder_2 = build_t5(tokenizer_2)
        self.transformer = build_transformer()

    def forward(self, noisy: Tensor, sigma: Tensor, captions: list[str], img_ids: Tensor) -> Tensor:
        """Predict the velocity noise - clean.

        Args:
            noisy: packed latents, (B, S, 32).
            sigma: noise levels in [0, 1], (B,).
            captions: B of them.
            img_ids: positions of the tokens, (S, 3).
        """
        clip_ids = self._tokens(self.tokenizer, captions).to(noisy.device)
        t5_ids = self._tokens(self.tokenizer_2, captions).to(noisy.device)
        return self.transformer(
            hidden_states=noisy,
            encoder_hidden_states=self.text_encoder_2(t5_ids)[0],
            pooled_projections=self.text_encoder(clip_ids).pooler_output,
            timestep=sigma,
            img_ids=img_ids,
            txt_ids=torch.zeros(MAX_TOKENS, 3, device=noisy.device),
            return_dict=False,
        )[0]

    @staticmethod
    def _tokens(tokenizer: CLIPTokenizer | T5TokenizerFast, captions: list[str]) -> Tensor:
        encoded = tokenizer(
            captions,
            padding="max_length",
            max_length=MAX_TOKENS,
            truncation=True,
            return_tensors="pt",
        )
        return encoded.input_ids


def build_transformer() -> FluxTransformer2DModel:
    """Return an untrained FLUX: 128 wide, 2 double-stream and 4 single-stream blocks."""
    return FluxTransformer2DModel(
        patch_size=1, in_channels=32, num_layers=2, num_single_layers=4, attention_head_dim=32,
        num_attention_heads=4, joint_attention_dim=TEXT_WIDTH, pooled_projection_dim=TEXT_WIDTH,
        guidance_embeds=False, axes_dims_rope=(8, 12, 12),
    )  # fmt: skip


def train_generator(
    data: SceneSet, vae: AutoencoderKL, work_dir: Path, num_steps: int, device: torch.device
) -> FluxPipeline:
    """Train on captions of all three kinds and return the pipeline."""
    torch.manual_seed(2)
    generator = Generator(*_tokenizers(work_dir / "tokenizers")).to(device)
    latents = _packed_latents(data, vae, work_dir)
    weights, centres = _token_weights(data.masks), _entity_centres(data)
    positions = FluxPipeline._prepare_latent_image_ids(1, GRID, GRID, device, torch.float32)

    def loss_at(step: int) -> Tensor:
        rng = np.random.default_rng((2, step))
        rows, tokens = _draw_batch(rng, centres, windowed=_is_windowed(step, num_steps))
        texts = [_caption(rng, data, row) for row in rows]
        clean = torch.from_numpy(latents[rows][:, tokens].astype(np.float32)).to(device)
        noise = torch.from_numpy(rng.standard_normal(clean.shape, dtype=np.float32)).to(device)
        sigma = torch.from_numpy(_sample_sigmas(rng, BATCH_SIZE)).to(device)
        at = sigma[:, None, None]
        velocity = generator((1 - at) * clean + at * noise, sigma, texts, positions[tokens])
        error = (velocity - (noise - clean)).pow(2).mean(dim=-1)
        weight = torch.from_numpy(weights[rows][:, tokens]).to(device)
        return (error * weight).sum() / weight.sum()

    optimizers = build_optimizers(generator, lr=1.5e-3)
    train(
        LoopConfig("generator", num_steps, warmup_steps=150),
        generator,
        optimizers,
        loss_at,
        work_dir,
    )
    return assemble_pipeline(generator, vae)


def _tokenizers(folder: Path) -> tuple[CLIPTokenizer, T5TokenizerFast]:
    """Return both tokenizers, trained once.

    Training them again numbers letters in another order, and a resumed run would misread them.
    """
    if not folder.exists():
        captions = sample_captions(20_000)
        train_clip_tokenizer(captions).save_pretrained(folder / "clip")
        build_t5_tokenizer(captions).save_pretrained(folder / "t5")
    return (
        CLIPTokenizer.from_pretrained(folder / "clip"),
        T5TokenizerFast.from_pretrained(folder / "t5"),
    )


def assemble_pipeline(generator: Generator, vae: AutoencoderKL) -> FluxPipeline:
    """Return the parts as a pipeline with the sampling schedule of FLUX.1-dev."""
    scheduler = FlowMatchEulerDiscreteScheduler(
        shift=3.0, use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15,
        base_image_seq_len=256, max_image_seq_len=4096,
    )  # fmt: skip
    transformer = build_transformer()
    transformer.load_state_dict(generator.transformer.state_dict())
    return FluxPipeline(
        scheduler=scheduler,
        vae=vae,
        text_encoder=generator.text_encoder,
        tokenizer=generator.tokenizer,
        text_encoder_2=generator.text_encoder_2,
        tokenizer_2=generator.tokenizer_2,
        transformer=transformer,
    ).to("cpu")


def _packed_latents(data: SceneSet, vae: AutoencoderKL, work_dir: Path) -> np.ndarray:
    """Return scaled latents packed 2 x 2, float16, (count, 256, 32); they are kept on disk."""
    path = work_dir / "latents.npy"
    if not path.exists():
        chunks = []
        for start in range(0, len(data.images), 4096):
            latents = encode_images(vae, data.images[start : start + 4096])
            latents = (latents - vae.config.shift_factor) * vae.config.scaling_factor
            packed = FluxPipeline._pack_latents(latents, *latents.shape)
            chunks.append(packed.half().numpy())
        np.save(path, np.concatenate(chunks))
    return np.load(path, mmap_mode="r")


def _is_windowed(step: int, num_steps: int) -> bool:
    return step < WINDOW_ONLY_STEPS or (step % 2 == 1 and step < WINDOW_SHARE * num_steps)


def _draw_batch(
    rng: np.random.Generator, centres: np.ndarray, *, windowed: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of a batch, sorted, and the tokens it trains on: all, or those of one window.

    All rows of a batch share the window, since FLUX takes one set of positions a batch; rows are
    drawn among the scenes whose entity lies inside, and those without one.
    """
    grid = np.arange(GRID * GRID).reshape(GRID, GRID)
    if not windowed:
        return np.sort(rng.integers(len(centres), size=BATCH_SIZE)), grid.ravel()
    top, left = rng.integers(GRID - WINDOW + 1, size=2)
    inside = (centres >= (top + 1.5, left + 1.5)) & (
        centres < (top + WINDOW - 1.5, left + WINDOW - 1.5)
    )
    entities, empty = np.flatnonzero(inside.all(axis=1)), np.flatnonzero(np.isnan(centres[:, 0]))
    num_empty = int(rng.binomial(BATCH_SIZE, len(empty) / len(centres)))
    rows = np.concatenate(
        [rng.choice(entities, BATCH_SIZE - num_empty), rng.choice(empty, num_empty)]
    )
    return np.sort(rows), grid[top : top + WINDOW, left : left + WINDOW].ravel()


def _entity_centres(data: SceneSet) -> np.ndarray:
    """Return the token row and column of each scene's entity, (count, 2); NaN where none is."""
    return np.array(
        [
            (np.nan, np.nan) if s.entity is None else (s.centre_y * GRID, s.centre_x * GRID)
            for s in data.scenes
        ]
    )


def _token_weights(masks: np.ndarray) -> np.ndarray:
    """Return the loss weight of each token, float32, (count, 256)."""
    count, height, width = masks.shape
    tokens = masks.reshape(count, height // 4, 4, width // 4, 4).any(axis=(2, 4)).reshape(count, -1)
    return 1.0 + ENTITY_WEIGHT * tokens.astype(np.float32)


def _sample_sigmas(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw noise levels, logit-normal around the upper middle, where layout is decided."""
    return (1.0 / (1.0 + np.exp(-rng.normal(0.4, 1.2, count)))).astype(np.float32)


def _caption(rng: np.random.Generator, data: SceneSet, row: int) -> str:
    scene = data.scenes[row]
    if scene.entity is None:
        return write_caption(rng, scene, "background")
    return write_caption(rng, scene, "entity" if rng.random() < ENTITY_CAPTION_SHARE else "full")
