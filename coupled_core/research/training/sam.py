"""Trains the miniature's Segment Anything: a point anywhere gives the segment it lies in."""

from pathlib import Path

import numpy as np
import torch
from segment_anything.modeling import Sam
from torch import Tensor
from torch.nn import functional

from coupled_core.research.training.data import SceneSet, soften, to_pixels
from coupled_core.research.training.loop import LoopConfig, build_optimizers, train
from coupled_core.scoring.sam import SamArchitecture, build_sam, save_sam

BATCH_SIZE = 16
POINTS_PER_IMAGE = 6
ENTITY_POINTS = 3  # of them on the entity, the rest anywhere


def train_sam(
    data: SceneSet, work_dir: Path, num_steps: int, device: torch.device, folder: Path
) -> None:
    """Train on the renderer's segments (sky, ground, sun, trees, entity) and write the model."""
    torch.manual_seed(4)
    size = SamArchitecture()
    sam = build_sam(size).train().to(device)

    def loss_at(step: int) -> Tensor:
        rng = np.random.default_rng((4, step))
        rows = np.sort(rng.integers(len(data.scenes), size=BATCH_SIZE))
        pixels = soften(to_pixels(data.images[rows]).to(device), rng)
        embeddings = sam.image_encoder(sam.preprocess((pixels + 1) * 127.5))
        losses = []
        for row, embedding in zip(rows, embeddings, strict=True):
            points, targets = _sample_points(rng, data.masks[row], data.segments[row])
            logits, predicted_iou = _decode(sam, embedding[None], points.to(device))
            losses.append(mask_loss(logits, predicted_iou, targets.to(device)))
        return torch.stack(losses).mean()

    config = LoopConfig("sam", num_steps, ema_decay=0.995)
    train(config, sam, build_optimizers(sam, lr=8e-4), loss_at, work_dir)
    save_sam(sam.eval(), size, folder)


def mask_loss(logits: Tensor, predicted_iou: Tensor, targets: Tensor) -> Tensor:
    """Focal and dice loss of the best of three masks, and the error of the predicted IoU of all.

    Args:
        logits: (P, 3, H, W).
        predicted_iou: (P, 3).
        targets: float (P, H, W) of 0 and 1.
    """
    target = targets[:, None].expand_as(logits)
    probability = logits.sigmoid()
    entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    focal = (entropy * (probability - target).abs() ** 2).mean(dim=(2, 3))
    overlap = (probability * target).sum(dim=(2, 3))
    dice = 1 - (2 * overlap + 1) / (probability.sum(dim=(2, 3)) + target.sum(dim=(2, 3)) + 1)
    best = (20 * focal + dice).min(dim=1).values.mean()
    with torch.no_grad():
        hard = logits > 0
        union = (hard | (target > 0.5)).sum(dim=(2, 3)).clamp(min=1)
        iou = (hard & (target > 0.5)).sum(dim=(2, 3)) / union
    return best + functional.mse_loss(predicted_iou, iou)


def _decode(sam: Sam, embedding: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    labels = torch.ones(points.shape[:2], device=points.device)
    sparse, dense = sam.prompt_encoder(points=(points, labels), boxes=None, masks=None)
    logits, predicted_iou = sam.mask_decoder(
        image_embeddings=embedding,
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=True,
    )
    side = sam.image_encoder.img_size
    if logits.shape[-1] != side:
        logits = functional.interpolate(logits, (side, side), mode="bilinear", align_corners=False)
    return logits, predicted_iou


def _sample_points(
    rng: np.random.Generator, entity: np.ndarray, segments: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Return points (P, 1, 2), x and y in pixels, and masks (P, H, W) of what they hit."""
    pixels = np.argwhere(np.ones_like(entity))
    on_entity = np.argwhere(entity)
    count = ENTITY_POINTS if len(on_entity) else 0
    chosen = [on_entity[i] for i in rng.integers(max(1, len(on_entity)), size=count)]
    chosen += [pixels[i] for i in rng.integers(len(pixels), size=POINTS_PER_IMAGE - count)]
    masks = [entity if entity[y, x] else (segments == segments[y, x]) & ~entity for y, x in chosen]
    points = np.array([[(x + 0.5, y + 0.5)] for y, x in chosen], dtype=np.float32)
    return torch.from_numpy(points), torch.from_numpy(np.stack(masks).astype(np.float32))
