"""Every number a pair is judged by, as pure functions of pixels, masks and CLIP embeddings.

Shapes and units throughout: an image is uint8, (H, W, 3), RGB, 0..255; a mask or region is bool,
(H, W); an embedding is float, (D,), of any length. Equation numbers are those of "Controllable
Coupled Image Generation via Diffusion Models"; the scale of S and the weights of J are fitted to
that paper's tables.
"""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from coupled_core.errors import ConfigError
from coupled_core.filters import NUMBERS
from coupled_core.plugins import find_plugins
from coupled_core.records import PairScores
from coupled_core.scoring.rims import distance_px, is_near, rim_seam

METRIC_VERSION = "5"
"""Goes up when a metric or the way an entity is found changes.

Scores of two versions do not compare, with three exceptions. 1 and 2 are equal where images are
square: 2 shows CLIP the whole of an image, 1 its central square. 2 and 3 are equal where CLIP reads
prompts at once: 3 reads longer ones whole, 2 their beginning. 3 and 4 are equal where images have
the size of Segment Anything's masks, as the miniature's do: 4 tells at that size which proposals
are of sensible size and which overlap, 3 at the image's. 5 looks at proposals with their
surroundings painted over, too: 4 took ground or sky around an entity for it in some images.
"""

SIMILARITY_WEIGHT = 0.03495
ALIGNMENT_WEIGHT = 0.05
COMBINED_OFFSET = 0.5
MAX_PSNR_DB = 100.0
SSIM_SIGMA_PX = 1.5  # Wang et al. 2004: an 11 x 11 Gaussian window
SSIM_TRUNCATE = 3.5  # 3.5 sigma is the radius of 5 pixels
SSIM_C1 = (0.01 * 255) ** 2
SSIM_C2 = (0.03 * 255) ** 2


def joint_entity_region(masks: Sequence[np.ndarray]) -> np.ndarray:
    """Return the union of the entity masks of a group (eq. 13), bool, (H, W)."""
    _check_same_shape("mask", masks)
    return np.asarray(np.logical_or.reduce([np.asarray(mask, dtype=bool) for mask in masks]))


def validity_ratio(region: np.ndarray) -> float:
    """Return r = 1 - |JER| / (W H) (eq. 14), [0, 1]."""
    return 1.0 - float(np.mean(region))


def background_similarity(images: Sequence[np.ndarray], region: np.ndarray) -> float:
    """Return S = -(1/r) * mean over image pairs of MSE / 100 (eq. 15).

    The mean squared error runs over all W * H * 3 values with the joint entity region set to 0 in
    both images, so dividing by r makes it the error of a background value.

    Args:
        images: two or more of one group.
        region: the joint entity region.

    Returns:
        S <= 0; 0 is identical outside the region; -inf where the region covers everything, since
        nothing then speaks for the background.
    """
    _check_images(images, region)
    ratio = validity_ratio(region)
    if ratio <= 0.0:
        return float("-inf")
    masked = [_blank(image, region) for image in images]
    # In float64, as `_blank` returns: differences of bytes would wrap round.
    errors = [float(np.mean((a - b) ** 2)) for a, b in combinations(masked, 2)]
    # A plain minus would make equal backgrounds -0.0.
    return 0.0 - float(np.mean(errors)) / (100.0 * ratio)


def alignment(clip_sims: Sequence[float]) -> float:
    """Return T = 100 * the mean cosine between each image and its full prompt."""
    return 100.0 * float(np.mean(clip_sims))


def combined(background_similarity_value: float, alignment_value: float) -> float:
    """Return J = 0.03495 S + 0.05 T + 0.5."""
    similarity = SIMILARITY_WEIGHT * background_similarity_value
    return similarity + ALIGNMENT_WEIGHT * alignment_value + COMBINED_OFFSET


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    """Return the cosine of two embeddings, [-1, 1]; 0 where one is zero and has no direction."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"expected two embeddings of shape (D,), got {a.shape} and {b.shape}")
    norms = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    if norms == 0.0:
        return 0.0
    return float(np.clip(np.dot(a, b) / norms, -1.0, 1.0))


def clip_sim_dir(
    image_embeddings: Sequence[np.ndarray], text_embeddings: Sequence[np.ndarray]
) -> float:
    """Return the cosine of the change of image and the change of text (InstructPix2Pix), [-1, 1].

    Args:
        image_embeddings: of image 0 and image 1, unit length.
        text_embeddings: of prompt 0 and prompt 1, unit length.
    """
    image_0, image_1 = (_unit(embedding) for embedding in image_embeddings)
    text_0, text_1 = (_unit(embedding) for embedding in text_embeddings)
    return cosine(image_1 - image_0, text_1 - text_0)


def clip_sim_image(image_embeddings: Sequence[np.ndarray]) -> float:
    """Return the cosine of the two images' embeddings, [-1, 1]."""
    image_0, image_1 = image_embeddings
    return cosine(image_0, image_1)


def background_psnr(images: Sequence[np.ndarray], region: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of a pair outside the region, decibels in [0, 100].

    100 also stands for identical backgrounds, 0 for a region that leaves no background.
    """
    _check_images(images, region)
    if bool(np.all(region)):
        return 0.0
    difference = images[0].astype(np.float64) - images[1].astype(np.float64)
    error = float(np.mean(difference[~np.asarray(region, dtype=bool)] ** 2))
    if error == 0.0:
        return MAX_PSNR_DB
    return min(MAX_PSNR_DB, float(10.0 * np.log10(255.0**2 / error)))


def background_ssim(images: Sequence[np.ndarray], region: np.ndarray) -> float:
    """Return the mean structural similarity of a pair outside the region, [-1, 1].

    Wang et al. 2004 with a Gaussian window, a channel at a time. The region is set to 0 in both
    images first, so that entities do not leak into the windows beside them. -1 where no background
    is left.
    """
    _check_images(images, region)
    if bool(np.all(region)):
        return -1.0
    first, second = (_blank(image, region) for image in images)
    similarity = np.mean([_ssim_map(first[..., c], second[..., c]) for c in range(3)], axis=0)
    return float(np.mean(similarity[~np.asarray(region, dtype=bool)]))


def pixel_mse(images: Sequence[np.ndarray]) -> float:
    """Return the mean squared difference of the whole images of a pair, 0..255 scale."""
    _check_same_shape("image", images)
    return float(np.mean((images[0].astype(np.float64) - images[1].astype(np.float64)) ** 2))


def equal_fraction(images: Sequence[np.ndarray]) -> float:
    """Return the share of the frame in which a pair has the very same pixels, [0, 1]."""
    _check_same_shape("image", images)
    return float(np.mean((images[0] == images[1]).all(axis=-1)))


ArrayPair = tuple[np.ndarray, np.ndarray]
Score = Callable[[ArrayPair, ArrayPair, ArrayPair, ArrayPair], float]
"""A score of another package: what `score_pair` is given becomes a number."""


def score_pair(
    images: ArrayPair, masks: ArrayPair, image_embeddings: ArrayPair, text_embeddings: ArrayPair
) -> PairScores:
    """Assemble the scores of one pair.

    Args:
        images: image 0 and image 1.
        masks: entity masks of image 0 and image 1.
        image_embeddings: CLIP, of image 0 and image 1.
        text_embeddings: CLIP, of the full prompts 0 and 1.
    """
    region = joint_entity_region(masks)
    similarity = background_similarity(images, region)
    distances = [distance_px(mask) for mask in masks]
    # The distance from the union of two masks is the smaller of the two.
    clear = is_near(np.minimum(*distances))
    if clear.all():
        # Else such a pair would fail the filter on it even where nobody has set a bound.
        clear = region
    sims = [cosine(a, b) for a, b in zip(image_embeddings, text_embeddings, strict=True)]
    return PairScores(
        joint_entity_fraction=float(np.mean(region)),
        validity_ratio=validity_ratio(region),
        background_similarity=similarity,
        clip_sim_0=sims[0],
        clip_sim_1=sims[1],
        alignment=alignment(sims),
        combined=combined(similarity, alignment(sims)),
        clip_sim_image=clip_sim_image(image_embeddings),
        clip_sim_dir=clip_sim_dir(image_embeddings, text_embeddings),
        background_psnr=background_psnr(images, region),
        background_ssim=background_ssim(images, region),
        pixel_mse=pixel_mse(images),
        equal_fraction=equal_fraction(images),
        background_similarity_clear=background_similarity(images, clear),
        rim_seam=rim_seam(images, distances),
        extra_scores={
            name: float(score(images, masks, image_embeddings, text_embeddings))
            for name, score in find_scores().items()
        },
    )


def find_scores() -> dict[str, Score]:
    """Return the scores that other packages registered, by name.

    Raises:
        ConfigError: one does not load, or has the name of a number of ours.
    """
    scores: dict[str, Score] = find_plugins("scores")
    if taken := sorted(scores.keys() & set(NUMBERS)):
        raise ConfigError(
            f"a package registers the scores {taken}, but these names are taken: give its entry "
            "points of coupled_images.scores other names"
        )
    return scores


def _unit(embedding: np.ndarray) -> np.ndarray:
    vector = np.asarray(embedding, dtype=np.float64)
    norm = float(np.linalg.norm(vector))
    return vector / norm if norm > 0.0 else vector


def _blank(image: np.ndarray, region: np.ndarray) -> np.ndarray:
    blanked = image.astype(np.float64)
    blanked[np.asarray(region, dtype=bool)] = 0.0
    return blanked


def _ssim_map(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    mean_0, mean_1 = _smooth(first), _smooth(second)
    # E[x^2] - E[x]^2 within the window, and likewise the covariance.
    variance_0 = _smooth(first * first) - mean_0**2
    variance_1 = _smooth(second * second) - mean_1**2
    covariance = _smooth(first * second) - mean_0 * mean_1
    numerator = (2 * mean_0 * mean_1 + SSIM_C1) * (2 * covariance + SSIM_C2)
    denominator = (mean_0**2 + mean_1**2 + SSIM_C1) * (variance_0 + variance_1 + SSIM_C2)
    return np.asarray(numerator / denominator)


def _smooth(plane: np.ndarray) -> np.ndarray:
    from scipy.ndimage import gaussian_filter  # a second, which who only plans does without

    return np.asarray(gaussian_filter(plane, sigma=SSIM_SIGMA_PX, truncate=SSIM_TRUNCATE))


def _check_same_shape(name: str, arrays: Sequence[np.ndarray]) -> None:
    shapes = [array.shape for array in arrays]
    if len(arrays) < 2 or len(set(shapes)) != 1:
        raise ValueError(f"expected two or more {name}s of one shape, got {shapes}")


def _check_images(images: Sequence[np.ndarray], region: np.ndarray) -> None:
    _check_same_shape("image", images)
    if images[0].ndim != 3 or images[0].shape[2] != 3 or images[0].shape[:2] != region.shape:
        raise ValueError(
            f"expected images (H, W, 3) and a region (H, W) of one size, "
            f"got {images[0].shape} and {region.shape}"
        )
