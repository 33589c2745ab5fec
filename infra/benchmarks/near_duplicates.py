"""How near duplicates are, and how far other pairs: what the thresholds of `duplicates` stand on.

    python -m infra.benchmarks.near_duplicates [--groups 16] [--seed 0]

Makes groups of the example set with the miniature, then the same again with another number of
denoising steps (near-duplicates as a later run makes them), and with another seed (other pictures
of the same words). Further duplicates are the stored images disturbed as copies are. A pair's
distance is that of its farther image, in the order of images that suits it.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from coupled_core.config import DuplicatesConfig, GenerationConfig, PromptSetConfig, RunConfig
from coupled_core.dataset.duplicates import cosines
from coupled_core.dataset.images import hamming_distance, perceptual_hash
from coupled_core.generation.generator import load_generator
from coupled_core.prompts.prompt_set import read_prompt_set
from coupled_core.records import GeneratedSample, GroupSplit, PromptGroup, Sample
from coupled_core.scoring.clip import ClipScorer, encode_embeddings, load_clip
from coupled_core.splitting.offline import OfflineSplitter
from infra.benchmarks.arguments import build_parser

Picture = NDArray[np.uint8]
_LEVELS = (0, 5, 50, 95, 100)
_MANY_STEPS = 24


@dataclass(frozen=True)
class Look:
    """One image as duplicates are told from it."""

    phash: str
    code: NDArray[np.int8]


Looks = Mapping[tuple[str, int], tuple[Look, Look]]
"""Both images of a pair, by group and number of the pair in it."""


def main() -> None:
    """Make the images and print a table."""
    parser = build_parser(__doc__)
    parser.add_argument("--groups", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    clip = load_clip("miniature", "cpu")
    samples = _samples(options.groups, options.seed)
    first = _generate(samples, GenerationConfig())
    base = _look_at(samples, first, clip)
    classes: dict[str, list[tuple[int, float]]] = {
        f"{_MANY_STEPS} denoising steps": _against(
            base,
            _look_at(
                samples,
                _generate(samples, GenerationConfig(num_inference_steps=_MANY_STEPS)),
                clip,
            ),
        )
    }
    for name, disturb in _DISTURBANCES.items():
        copies = [_disturbed(one, disturb) for one in first]
        classes[name] = _against(base, _look_at(samples, copies, clip))
    others = _samples(options.groups, options.seed + 1)
    other = _look_at(others, _generate(others, GenerationConfig()), clip)
    classes["DIFFERENT: another seed"] = _against(base, other)
    classes["DIFFERENT: same group, other edit"] = _among(base, same_group=True)
    classes["DIFFERENT: other group"] = _among(base, same_group=False)
    _print(classes)


def _samples(num_groups: int, seed: int) -> list[Sample]:
    items = read_prompt_set(PromptSetConfig())
    groups = [item for item in items if isinstance(item, PromptGroup)]
    chosen = [groups[i * len(groups) // num_groups] for i in range(num_groups)]
    splits = OfflineSplitter().split(chosen)
    return [
        Sample(group, 1000 * seed + index, split)
        for index, (group, split) in enumerate(zip(chosen, splits, strict=True))
        if isinstance(split, GroupSplit)
    ]


def _generate(samples: Sequence[Sample], config: GenerationConfig) -> list[GeneratedSample]:
    made = load_generator(config).generate(samples)
    return [one for one in made if isinstance(one, GeneratedSample)]


def _look_at(samples: Sequence[Sample], made: Sequence[GeneratedSample], clip: ClipScorer) -> Looks:
    found: dict[tuple[str, int], tuple[Look, Look]] = {}
    for sample, one in zip(samples, made, strict=True):
        codes = encode_embeddings(clip.embed_images(one.images))
        looks = [
            Look(perceptual_hash(image), np.frombuffer(bytes.fromhex(code), np.int8))
            for image, code in zip(one.images, codes, strict=True)
        ]
        for number, (i, j) in enumerate(sample.pairs):
            found[sample.group.group_id, number] = (looks[i], looks[j])
    return found


def _compare(a: tuple[Look, Look], b: tuple[Look, Look]) -> tuple[int, float]:
    """Return the larger distance of hashes and the smaller cosine, in the order that suits."""
    measured = []
    for order in (b, b[::-1]):
        gaps = [hamming_distance(x.phash, y.phash) for x, y in zip(a, order, strict=True)]
        alike = [float(cosines(x.code, y.code)) for x, y in zip(a, order, strict=True)]
        measured.append((max(gaps), min(alike)))
    return min(measured, key=lambda each: (-each[1], each[0]))


def _against(base: Looks, again: Looks) -> list[tuple[int, float]]:
    return [_compare(base[key], again[key]) for key in base]


def _among(base: Looks, *, same_group: bool) -> list[tuple[int, float]]:
    both = combinations(base, 2)
    return [_compare(base[a], base[b]) for a, b in both if (a[0] == b[0]) == same_group]


def _disturbed(
    made: GeneratedSample, disturb: Callable[[Image.Image], Image.Image]
) -> GeneratedSample:
    images = (np.asarray(disturb(Image.fromarray(image)).convert("RGB")) for image in made.images)
    return replace(made, images=tuple(images))


def _jpeg(picture: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=75)
    return Image.open(io.BytesIO(buffer.getvalue()))


def _shrink(picture: Image.Image) -> Image.Image:
    small = picture.resize(
        (picture.width * 3 // 4, picture.height * 3 // 4), Image.Resampling.BICUBIC
    )
    return small.resize(picture.size, Image.Resampling.BICUBIC)


def _crop(picture: Image.Image) -> Image.Image:
    edge = max(1, picture.width // 64)
    inner = (edge, edge, picture.width - edge, picture.height - edge)
    return picture.crop(inner).resize(picture.size, Image.Resampling.BICUBIC)


def _brighten(picture: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(picture).enhance(1.08)


def _grain(picture: Image.Image) -> Image.Image:
    pixels = np.asarray(picture, np.float64)
    noise = np.random.default_rng(0).normal(0, 6, pixels.shape)
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


_DISTURBANCES: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG, quality 75": _jpeg,
    "shrunk to 3/4 and back": _shrink,
    "cropped by 1/64 a side": _crop,
    "8 % brighter": _brighten,
    "noise, sigma 6 of 255": _grain,
}


def _print(classes: Mapping[str, Sequence[tuple[int, float]]]) -> None:
    config: DuplicatesConfig = RunConfig().duplicates
    print(
        f"duplicate: hashes differ in <= {config.max_phash_distance} bits, "
        f"cosine of codes >= {config.min_clip_similarity}"
    )
    print(
        f"{'pairs that are':<36}{'number':>7}{'called duplicates':>19}  "
        f"bits and cosine at percentiles {_LEVELS} of nearness"
    )
    for name, found in classes.items():
        called = sum(
            config.max_phash_distance >= gap and alike >= config.min_clip_similarity
            for gap, alike in found
        )
        print(f"{name:<36}{len(found):>7}{called:>19}  {'  '.join(_percentiles(found))}")


def _percentiles(found: Sequence[tuple[int, float]]) -> Iterator[str]:
    gaps, alike = zip(*found, strict=True)
    for level in _LEVELS:
        gap, cosine = np.percentile(gaps, level), np.percentile(alike, 100 - level)
        yield f"{gap:4.0f} {cosine:6.3f}"


if __name__ == "__main__":
    main()
