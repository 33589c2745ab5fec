"""Trains the miniature's CLIP on independent scenes: whole pictures and crops, all captions."""

import json
from pathlib import Path

import numpy as np
import open_clip
import torch
from open_clip import CLIP, CLIPTextCfg, CLIPVisionCfg
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional
from transformers import CLIPTokenizer

from coupled_core.research.drawn_world.captions import write_caption
from coupled_core.research.training.data import SceneSet, soften, to_pixels
from coupled_core.research.training.loop import LoopConfig, build_optimizers, train
from coupled_core.research.training.text import MAX_TOKENS, sample_captions, train_clip_tokenizer

BATCH_SIZE = 128
EMBED_DIM = 128
VISION = {"image_size": 64, "layers": 4, "width": 128, "head_width": 32, "patch_size": 8}
TEXT = {"context_length": MAX_TOKENS, "width": 128, "heads": 4, "layers": 3}
# How often a batch shows a whole scene under its full caption, a crop of the entity under the
# entity's, and a place without an entity under its background's.
VIEW_SHARES = (0.55, 0.25, 0.20)


def build_clip(vocab_size: int) -> CLIP:
    """Return an untrained open_clip model."""
    return CLIP(EMBED_DIM, CLIPVisionCfg(**VISION), CLIPTextCfg(vocab_size=vocab_size, **TEXT))


def train_clip(
    data: SceneSet, work_dir: Path, num_steps: int, device: torch.device, folder: Path
) -> None:
    """Train and write an open_clip folder (`local-dir:`)."""
    torch.manual_seed(3)
    tokenizer = train_clip_tokenizer(sample_captions(20_000))
    clip = build_clip(len(tokenizer)).to(device)
    boxes = [_box(mask) for mask in data.masks]

    def loss_at(step: int) -> Tensor:
        rng = np.random.default_rng((3, step))
        rows = np.sort(rng.integers(len(data.scenes), size=BATCH_SIZE))
        views = [_view(rng, data, row, boxes[row]) for row in rows]
        pixels = soften(to_pixels(np.stack([image for image, _ in views])).to(device), rng)
        texts = [text for _, text in views]
        tokens = tokenizer(
            texts, padding="max_length", max_length=MAX_TOKENS, truncation=True, return_tensors="pt"
        ).input_ids
        image, text, scale = clip(pixels, tokens.to(device))
        return contrastive_loss(scale * image @ text.T, texts)

    config = LoopConfig("clip", num_steps, ema_decay=0.995)
    train(config, clip, build_optimizers(clip, lr=1e-3), loss_at, work_dir)
    save_clip(clip, tokenizer, folder)


def contrastive_loss(logits: Tensor, texts: list[str]) -> Tensor:
    """CLIP's loss, where equal captions in a batch are not held against each other."""
    same = torch.tensor([[a == b for b in texts] for a in texts], device=logits.device)
    logits = logits.masked_fill(
        same & ~torch.eye(len(texts), dtype=torch.bool, device=logits.device), -1e4
    )
    target = torch.arange(len(texts), device=logits.device)
    return (
        functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)
    ) / 2


def save_clip(clip: CLIP, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write configuration, float16 weights and tokenizer in open_clip's `local-dir` layout."""
    folder.mkdir(parents=True, exist_ok=True)
    text = {**TEXT, "vocab_size": len(tokenizer), "hf_tokenizer_name": "local"}
    config = {
        "model_cfg": {"embed_dim": EMBED_DIM, "vision_cfg": VISION, "text_cfg": text},
        "preprocess_cfg": {
            "mean": [0.5] * 3,
            "std": [0.5] * 3,
            "size": [64, 64],
            "interpolation": "bicubic",
        },
    }
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    weights = {name: value.half().contiguous() for name, value in clip.state_dict().items()}
    save_file(weights, folder / "open_clip_model.safetensors")
    tokenizer.save_pretrained(folder)
    # A folder that does not load should fail here, not in a run.
    open_clip.create_model(f"local-dir:{folder}")


def _view(
    rng: np.random.Generator, data: SceneSet, row: int, box: tuple[int, int, int, int] | None
) -> tuple[np.ndarray, str]:
    scene, image = data.scenes[row], data.images[row]
    kind = rng.choice(3, p=VIEW_SHARES)
    if scene.entity is None or box is None:
        return image, write_caption(rng, scene, "background")
    if kind == 1:
        return _crop(image, _grow(rng, box)), write_caption(rng, scene, "entity")
    if kind == 2:
        away = _away_from(rng, box)
        return _crop(image, away), write_caption(rng, scene, "background")
    return image, write_caption(rng, scene, "full")


def _box(mask: np.ndarray) -> tuple[int, int, int, int] | None:
    """Return the bounding box (x0, y0, x1, y1) of a mask in pixels, or None where it is empty."""
    ys, xs = np.nonzero(mask)
    return (
        None
        if len(xs) == 0
        else (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
    )


def _grow(rng: np.random.Generator, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = box
    side = max(x1 - x0, y1 - y0) * float(rng.uniform(1.0, 1.6))
    cx, cy = (x0 + x1) / 2 + rng.uniform(-2, 2), (y0 + y1) / 2 + rng.uniform(-2, 2)
    return _within(cx, cy, side)


def _away_from(
    rng: np.random.Generator, box: tuple[int, int, int, int]
) -> tuple[int, int, int, int]:
    """Return a square of 16 to 40 px that misses the entity, or else the larger free side."""
    for _ in range(8):
        side = float(rng.uniform(16, 40))
        x0, y0, x1, y1 = _within(float(rng.uniform(0, 64)), float(rng.uniform(0, 64)), side)
        if x1 <= box[0] or x0 >= box[2] or y1 <= box[1] or y0 >= box[3]:
            return x0, y0, x1, y1
    return (0, 0, max(box[0], 8), 64) if box[0] > 64 - box[2] else (min(box[2], 56), 0, 64, 64)


def _within(cx: float, cy: float, side: float) -> tuple[int, int, int, int]:
    half = side / 2
    x0, y0 = max(0, round(cx - half)), max(0, round(cy - half))
    return x0, y0, max(x0 + 4, min(64, round(cx + half))), max(y0 + 4, min(64, round(cy + half)))


def _crop(image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(image).crop(box).resize((64, 64), Image.Resampling.BICUBIC))
