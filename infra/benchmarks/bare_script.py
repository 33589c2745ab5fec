"""A pair judged with segment_anything's and open_clip's own classes: what `peers` compares with."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from coupled_core.miniature import miniature_folder
from coupled_core.records import Sample
from coupled_core.scoring.sam import load_sam


class BareScript:
    """A pair judged with nothing but the libraries' own classes, as one would write it down."""

    def __init__(self) -> None:
        import open_clip
        from segment_anything import SamAutomaticMaskGenerator, SamPredictor

        sam, clip = load_sam("miniature", "cpu"), f"local-dir:{miniature_folder('clip')}"
        # The grid and the bounds of our scorer. It asks for no stability of masks.
        self._automatic = SamAutomaticMaskGenerator(
            sam, points_per_side=8, pred_iou_thresh=0.6, stability_score_thresh=0.0
        )
        self._predictor = SamPredictor(sam)
        self._clip, _, self._preprocess = open_clip.create_model_and_transforms(clip)
        self._clip.eval()
        self._tokenizer = open_clip.get_tokenizer(clip)

    def score(self, sample: Sample, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Find both entities among all masks, then compare; returns the masks."""
        split = sample.split
        masks = [
            self._pick(image, entity, split.background_prompt)
            for image, entity in zip(images, split.entity_prompts, strict=True)
        ]
        self._judge(sample, images, masks)
        return masks

    def score_at_points(self, sample: Sample, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Take what is at the centre of each image for its entity, then compare."""
        masks = []
        for image in images:
            self._predictor.set_image(image)
            centre = np.array([[image.shape[1] / 2, image.shape[0] / 2]])
            found, ious, _ = self._predictor.predict(centre, np.array([1]), multimask_output=True)
            masks.append(found[int(ious.argmax())])
        self._judge(sample, images, masks)
        return masks

    def _pick(self, image: np.ndarray, entity: str, background: str) -> np.ndarray:
        area = image.shape[0] * image.shape[1]
        found = self._automatic.generate(image)
        found = [each for each in found if 0.004 <= each["area"] / area <= 0.6]
        found = sorted(found, key=lambda each: -each["predicted_iou"])[:16]
        crops = []
        for each in found:
            x, y, wide, high = each["bbox"]
            half = max(wide, high) * 1.3 / 2
            rows, columns = (
                slice(max(0, round(middle - half)), round(middle + half))
                for middle in (y + high / 2, x + wide / 2)
            )
            crop, mask = image[rows, columns], each["segmentation"][rows, columns]
            outside = crop[~mask].mean(axis=0).round() if not mask.all() else 0
            crops += [crop, np.where(mask[..., None], crop, outside).astype(np.uint8)]
        texts = self._embed_texts([entity, background])
        leaning = self._embed_images(crops) @ (texts[0] - texts[1])
        return np.asarray(found[int(leaning.reshape(-1, 2).sum(dim=1).argmax())]["segmentation"])

    def _judge(
        self, sample: Sample, images: Sequence[np.ndarray], masks: Sequence[np.ndarray]
    ) -> dict[str, float]:
        """Return the paper's three numbers and the direction of the change, and no more."""
        region = masks[0] | masks[1]
        first, second = (np.where(region[..., None], 0.0, image) for image in images)
        similarity = -float(((first - second) ** 2).mean()) / (100 * max(1 - region.mean(), 1e-9))
        seen, asked = self._embed_images(images), self._embed_texts(sample.group.prompts)
        alignment = 100 * float((seen * asked).sum(dim=1).mean())
        change = torch.nn.functional.cosine_similarity(seen[1] - seen[0], asked[1] - asked[0], 0)
        combined = 0.03495 * similarity + 0.05 * alignment + 0.5
        return {"S": similarity, "T": alignment, "J": combined, "direction": float(change)}

    @torch.no_grad()
    def _embed_images(self, images: Sequence[np.ndarray]) -> torch.Tensor:
        pixels = torch.stack([self._preprocess(Image.fromarray(image)) for image in images])
        embedded: torch.Tensor = self._clip.encode_image(pixels, normalize=True)
        return embedded

    @torch.no_grad()
    def _embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        tokens = self._tokenizer(list(texts))
        embedded: torch.Tensor = self._clip.encode_text(tokens, normalize=True)
        return embedded
