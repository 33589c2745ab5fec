"""Finds the entity of an image: Segment Anything proposes, CLIP picks.

Points on a regular grid prompt Segment Anything, one decoder pass each on one embedding of the
image. What comes back confident, of sensible size and not twice the same is a proposal. Around each
proposal a square is cut out and compared with two texts: the entity prompt and the shared
background prompt. The proposal whose cut-out leans most towards the entity is the entity; where
none leans that way there is none, and the mask is empty. Nothing here knows which model made the
image, nor looks at the other images of the group.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

from coupled_core.memory import Room
from coupled_core.records import EntityMask
from coupled_core.scoring.clip import ClipScorer


@dataclass(frozen=True)
class ProposalConfig:
    """What counts as a proposal."""

    points_per_side: int = 8
    min_predicted_iou: float = 0.6
    min_area: float = 0.004
    """Fraction of the image."""
    max_area: float = 0.6
    """Fraction of the image."""
    max_overlap: float = 0.7
    """IoU above which the less confident of two proposals is dropped."""
    max_proposals: int = 16
    crop_margin: float = 1.3
    """Side of the cut-out over the longer side of the proposal's box."""
    points_per_batch: int = 48


@dataclass(frozen=True)
class _Proposal:
    mask: np.ndarray  # bool, (H, W)
    predicted_iou: float


class EntityFinder:
    """Segment Anything and CLIP, working together."""

    def __init__(self, sam: Sam, clip: ClipScorer, config: ProposalConfig | None = None) -> None:
        self._predictor, self._clip = SamPredictor(sam), clip
        self._config = config or ProposalConfig()
        self._room = Room()

    def find(self, image: np.ndarray, entity_prompt: str, background_prompt: str) -> EntityMask:
        """Return the entity's mask; empty, with predicted_iou 0, where nothing looks like it.

        Args:
            image: uint8, (H, W, 3), RGB.
        """
        proposals = self._propose(image)
        if proposals:
            crops = [self._cut_out(image, proposal.mask) for proposal in proposals]
            entity, background = self._clip.embed_texts([entity_prompt, background_prompt])
            # At the border of an image a cut-out is no square. In square images only its centre
            # counts, as it did in metric version 1, so that masks and scores stay what they were.
            is_square = image.shape[0] == image.shape[1]
            seen = self._clip.embed_images(crops, centre_only=is_square)
            leaning = seen @ (entity - background)
            best = int(leaning.argmax())
            if leaning[best] > 0:
                chosen = proposals[best]
                return EntityMask(chosen.mask, chosen.predicted_iou, touches_border(chosen.mask))
        return EntityMask(np.zeros(image.shape[:2], dtype=bool), 0.0, touches_border=False)

    def segment_at(self, image: np.ndarray, point_xy: tuple[float, float]) -> np.ndarray:
        """Return the most confident mask, bool (H, W), at a point in pixels."""
        self._predictor.set_image(image)
        masks, ious, _ = self._predictor.predict(
            np.array([point_xy]), np.array([1]), multimask_output=True
        )
        return np.asarray(masks[int(ious.argmax())])

    def _propose(self, image: np.ndarray) -> list[_Proposal]:
        self._predictor.set_image(image)
        height, width = image.shape[:2]
        points = _grid(self._config.points_per_side, width, height)
        found: list[_Proposal] = []
        for start in range(0, len(points), self._config.points_per_batch):
            some = points[start : start + self._config.points_per_batch]
            for each in self._room.map(
                lambda points: self._segment(np.stack(points), (height, width)), list(some)
            ):
                found += each
        found.sort(key=lambda proposal: proposal.predicted_iou, reverse=True)
        return _drop_overlapping(found, self._config.max_overlap)[: self._config.max_proposals]

    @torch.no_grad()
    def _segment(self, points: np.ndarray, size: tuple[int, int]) -> list[list[_Proposal]]:
        """Return, for each point (P, 2) in pixels, its confident masks of sensible size."""
        device = self._predictor.device
        coords = self._predictor.transform.apply_coords(points, size)
        masks, ious, _ = self._predictor.predict_torch(
            torch.as_tensor(coords, dtype=torch.float32, device=device)[:, None],
            torch.ones(len(points), 1, device=device),
            multimask_output=True,
        )
        areas = masks.float().mean(dim=(2, 3))
        config = self._config
        good = (
            (ious >= config.min_predicted_iou)
            & (areas >= config.min_area)
            & (areas <= config.max_area)
        )
        kept = [masks[i][good[i]].cpu().numpy() for i in range(len(points))]
        confidence = [ious[i][good[i]].tolist() for i in range(len(points))]
        return [
            [_Proposal(mask, min(1.0, float(iou))) for mask, iou in zip(*found, strict=True)]
            for found in zip(kept, confidence, strict=True)
        ]

    def _cut_out(self, image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        ys, xs = np.nonzero(mask)
        height, width = mask.shape
        half = max(np.ptp(xs) + 1, np.ptp(ys) + 1) * self._config.crop_margin / 2
        cx, cy = (xs.min() + xs.max() + 1) / 2, (ys.min() + ys.max() + 1) / 2
        x0, y0 = max(0, round(cx - half)), max(0, round(cy - half))
        x1, y1 = min(width, round(cx + half)), min(height, round(cy + half))
        return np.ascontiguousarray(image[y0:y1, x0:x1])


def touches_border(mask: np.ndarray) -> bool:
    """Say whether a mask (H, W) reaches the edge of the image: the entity may be cut off."""
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def _grid(points_per_side: int, width: int, height: int) -> np.ndarray:
    """Return the centres of equal cells, float (P, 2), x and y in pixels."""
    steps = (np.arange(points_per_side) + 0.5) / points_per_side
    xs, ys = np.meshgrid(steps * width, steps * height)
    return np.stack([xs.ravel(), ys.ravel()], axis=1)


def _drop_overlapping(proposals: Sequence[_Proposal], max_overlap: float) -> list[_Proposal]:
    """Keep, in order, each proposal whose IoU with those kept so far is at most `max_overlap`."""
    if not proposals:
        return []
    flat = np.stack([proposal.mask.ravel() for proposal in proposals]).astype(np.float32)
    areas = flat.sum(axis=1)
    kept: list[int] = []
    for index in range(len(proposals)):
        shared = flat[kept] @ flat[index] if kept else np.zeros(0)
        union = areas[kept] + areas[index] - shared
        if not np.any(shared > max_overlap * union):
            kept.append(index)
    return [proposals[index] for index in kept]
