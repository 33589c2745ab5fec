"""Finds the entity of an image: Segment Anything proposes, CLIP picks.

Points on a regular grid prompt Segment Anything, one decoder pass each on one embedding of the
image. What comes back confident, of sensible size and not twice the same is a proposal; all of that
is told at the size of the model's masks, and proposals alone are enlarged to the image's. Around
each proposal a square is cut out and compared with two texts: the entity prompt and the shared
background prompt; once as it is, and once with its surroundings painted over, since ground or sky
around an entity shows the entity, too. The proposal whose two cut-outs lean most towards the entity
is the entity; where none leans that way there is none, and the mask is empty. Nothing here knows
which model made the image, nor looks at the other images of the group.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam
from torch import Tensor

from coupled_core.models.memory import Room
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
            squares = [self._find_square(proposal.mask) for proposal in proposals]
            entity, background = self._clip.embed_texts([entity_prompt, background_prompt])
            # At the border of an image a cut-out is no square. In square images only its centre
            # counts, as it did in metric version 1, so that masks and scores stay what they were.
            is_square = image.shape[0] == image.shape[1]
            crops = [np.ascontiguousarray(image[square]) for square in squares]
            crops += [
                _paint_over(crop, proposal.mask[square])
                for crop, proposal, square in zip(crops, proposals, squares, strict=True)
            ]
            seen = self._clip.embed_images(crops, centre_only=is_square)
            # (P,): how much more both cut-outs are like the entity's words than like the
            # background's.
            leaning = (seen @ (entity - background)).reshape(2, -1).sum(axis=0)
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

    @torch.no_grad()
    def _propose(self, image: np.ndarray) -> list[_Proposal]:
        self._predictor.set_image(image)
        height, width = image.shape[:2]
        config, points = self._config, _grid(self._config.points_per_side, width, height)
        found: list[tuple[Tensor, Tensor]] = []
        for start in range(0, len(points), config.points_per_batch):
            some = list(points[start : start + config.points_per_batch])
            found += self._room.map(lambda some: self._segment(np.stack(some), image.shape), some)
        logits = torch.cat([each for each, _ in found])  # (points * 3, h, w)
        # An estimate by a regression head, which may come out above 1.
        confidence = torch.cat([each for _, each in found]).clamp(max=1.0)
        masks = self._without_padding(logits) > self._predictor.model.mask_threshold
        # Shares of the image: the padding is cut off before.
        areas = masks.float().mean(dim=(1, 2))
        good = (
            (confidence >= config.min_predicted_iou)
            & (areas >= config.min_area)
            & (areas <= config.max_area)
        )
        (best,) = torch.where(good)
        # Stable, so that equal estimates keep the order of the grid on every machine.
        best = best[confidence[best].argsort(descending=True, stable=True)]
        best = best[_find_distinct(masks[best], config.max_overlap)[: config.max_proposals]]
        chosen = zip(self._enlarge(logits[best]), confidence[best].tolist(), strict=True)
        return [_Proposal(mask, predicted_iou) for mask, predicted_iou in chosen]

    def _segment(self, points: np.ndarray, shape: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
        """Return, for each point (P, 2) in pixels, logits (3, h, w) and predicted IoU (3,)."""
        predictor, sam = self._predictor, self._predictor.model
        coords = predictor.transform.apply_coords(points, shape[:2])
        prompts = (
            # (P, 1, 2) coordinates with (P, 1) labels; 1 is foreground: each point is a prompt
            # alone.
            torch.as_tensor(coords, dtype=torch.float32, device=predictor.device)[:, None],
            torch.ones(len(points), 1, device=predictor.device),
        )
        # `predict_torch` would enlarge all of them, of which few are of use.
        sparse, dense = sam.prompt_encoder(points=prompts, boxes=None, masks=None)
        logits, predicted_iou = sam.mask_decoder(
            image_embeddings=predictor.features,
            image_pe=sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )
        return list(zip(logits, predicted_iou, strict=True))

    def _without_padding(self, logits: Tensor) -> Tensor:
        """Return what lies in the image of logits (P, h, w): the model pads it to a square."""
        scale = logits.shape[-1] / self._predictor.model.image_encoder.img_size
        height, width = (math.ceil(side * scale) for side in self._predictor.input_size)
        return logits[:, :height, :width]

    def _enlarge(self, logits: Tensor) -> np.ndarray:
        """Return masks of the image's size, bool (P, H, W), of logits (P, h, w)."""
        predictor, sam = self._predictor, self._predictor.model
        full = sam.postprocess_masks(logits[:, None], predictor.input_size, predictor.original_size)
        return np.asarray((full[:, 0] > sam.mask_threshold).cpu().numpy())

    def _find_square(self, mask: np.ndarray) -> tuple[slice, slice]:
        """Return the rows and columns of a square around a mask, as far as the image goes."""
        ys, xs = np.nonzero(mask)
        height, width = mask.shape
        # A square around the longer side, so that CLIP sees the entity undistorted.
        half = max(np.ptp(xs) + 1, np.ptp(ys) + 1) * self._config.crop_margin / 2
        cx, cy = (xs.min() + xs.max() + 1) / 2, (ys.min() + ys.max() + 1) / 2
        x0, y0 = max(0, round(cx - half)), max(0, round(cy - half))
        x1, y1 = min(width, round(cx + half)), min(height, round(cy + half))
        return slice(y0, y1), slice(x0, x1)


def _paint_over(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the image with the mean colour of what lies outside the mask there."""
    if mask.all():
        return image
    colour = image[~mask].mean(axis=0).round().astype(np.uint8)
    return np.where(mask[..., None], image, colour)


def touches_border(mask: np.ndarray) -> bool:
    """Say whether a mask (H, W) reaches the edge of the image: the entity may be cut off."""
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def _grid(points_per_side: int, width: int, height: int) -> np.ndarray:
    """Return the centres of equal cells, float (P, 2), x and y in pixels."""
    steps = (np.arange(points_per_side) + 0.5) / points_per_side
    xs, ys = np.meshgrid(steps * width, steps * height)
    return np.stack([xs.ravel(), ys.ravel()], axis=1)


def _find_distinct(masks: Tensor, max_overlap: float) -> list[int]:
    """Return, in order, each mask whose IoU with those before it is at most `max_overlap`.

    Args:
        masks: bool, (P, h, w). Those that are left out themselves do not count.
        max_overlap: [0, 1].
    """
    flat = masks.flatten(1).float()
    shared, areas = flat @ flat.T, flat.sum(dim=1)  # counts of pixels, exact below 2 ** 24
    union = areas[:, None] + areas - shared
    # IoU > max_overlap, without a division by an empty union.
    overlaps = (shared > max_overlap * union).cpu().numpy()
    kept: list[int] = []
    for index in range(len(overlaps)):
        if not overlaps[index, kept].any():
            kept.append(index)
    return kept
