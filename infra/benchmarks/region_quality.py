"""Prints how well mode `region` encloses the entities, and whether its border shows.

    python -m infra.benchmarks.region_quality [--groups 100] [--picture FILE]

For each image of held-out groups: the share of the entity's mask that lies inside the region (what
lies outside is cropped), and how much brightness jumps from pixel to pixel across the region's
border, against the same places in the group's background alone. The region is read off the latents:
outside it those of a group are equal to the last bit.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from coupled_core.config import GenerationConfig, RunConfig, ScoringConfig
from coupled_core.generation.batch import Group
from coupled_core.generation.pipeline import (
    PromptEncoder,
    compute_noise_levels,
    decode_latents,
    draw_noise,
    image_ids,
    load_pipeline,
)
from coupled_core.generation.provenance import resolve
from coupled_core.generation.sampler import SamplerSettings, sample_groups
from coupled_core.records import GeneratedSample, Sample
from coupled_core.research.evaluation.intervals import bootstrap_mean
from coupled_core.research.evaluation.samples import build_samples, take_groups
from coupled_core.scoring.pair_scorer import PairScorer, load_scorer

_WORST_SHOWN = 6
_ENLARGED = 3


@dataclass(frozen=True)
class RegionFit:
    """How well the region of one group encloses its entities."""

    coverage: tuple[float, ...]
    """Share of each found entity's mask inside the region."""
    jumps: float
    """Mean absolute jump of brightness across the border, 0..255, entities left out."""
    jumps_of_background: float
    region: float
    """Share of the frame, soft edge included."""
    panels: tuple[np.ndarray, ...]
    """Images, background, and the first image with all but the region dimmed."""


class RegionInspector:
    """Makes groups as `coupled build` does, and keeps the latents."""

    def __init__(self, config: GenerationConfig) -> None:
        self._resolved = resolve(config)
        self._facts = self._resolved.provenance
        self._pipeline = load_pipeline(self._resolved, config.offload)
        self._encoder = PromptEncoder(self._pipeline, self._facts.max_sequence_length)
        self._ids = image_ids(self._pipeline, self._facts.width, self._facts.height)

    @torch.no_grad()
    def measure(self, sample: Sample, scorer: PairScorer) -> RegionFit:
        """Return what one group shows."""
        region = self._resolved.schedule.region
        assert region is not None, "expected a schedule of mode region"
        texts = [sample.split.background_prompt, *sample.group.prompts]
        background, *entities = self._encoder.encode(texts)
        size = (self._facts.width, self._facts.height)
        group = Group(draw_noise(self._pipeline, sample.seed, *size), background, tuple(entities))
        # The last steps are free and let all latents drift a little: the region is read without.
        tied = self._denoise(
            group, SamplerSettings("region", None, region=replace(region, release=0.0))
        )
        images = self._decode(self._denoise(group, SamplerSettings("region", None, region=region)))
        alone = self._decode(self._denoise(group, SamplerSettings("log_bias", None), beta=0.0)[:1])[
            0
        ]
        inside = self._to_pixels((tied != tied[:1]).any(dim=-1).any(dim=0))
        masks, _ = scorer.score(sample, GeneratedSample(images, 0.0, device_name=""))
        entity = np.any([one.mask for one in masks], axis=0)
        return RegionFit(
            coverage=tuple(inside[one.mask].mean() for one in masks if one.mask.any()),
            jumps=float(np.mean([_jump_across(inside, image, entity) for image in images])),
            jumps_of_background=_jump_across(inside, alone, entity),
            region=float(inside.mean()),
            panels=(
                *images,
                alone,
                (images[0] * np.where(inside, 1.0, 0.4)[..., None]).astype(np.uint8),
            ),
        )

    def _denoise(
        self, group: Group, settings: SamplerSettings, beta: float | None = None
    ) -> Tensor:
        pipeline, num_steps = self._pipeline, self._facts.num_inference_steps
        levels = compute_noise_levels(pipeline.scheduler, num_steps, len(self._ids))
        betas = self._resolved.schedule.beta(levels.sigmas[:-1])
        if beta is not None:
            betas = torch.full_like(betas, beta)
        guided = pipeline.transformer.config.guidance_embeds
        settings = replace(settings, guidance_scale=self._facts.guidance_scale if guided else None)
        device = pipeline._execution_device
        (latents,) = sample_groups(
            pipeline.transformer, [group], levels, betas, self._ids, settings, device=device
        )
        return latents

    def _decode(self, latents: Tensor) -> tuple[np.ndarray, ...]:
        images = decode_latents(self._pipeline, latents, self._facts.width, self._facts.height)
        return tuple(image for image in images if image is not None)

    def _to_pixels(self, tokens: Tensor) -> np.ndarray:
        rows = int(self._ids[:, 1].max()) + 1
        grid = tokens.reshape(rows, -1).cpu().numpy()
        pixels: np.ndarray = np.kron(grid, np.ones((self._facts.height // rows,) * 2)).astype(bool)
        return pixels


def _jump_across(inside: np.ndarray, image: np.ndarray, entity: np.ndarray) -> float:
    """Return the mean absolute difference of neighbours on either side of the region's border."""
    brightness = image.astype(np.float64).mean(axis=2)
    jumps = []
    for axis in (0, 1):
        here, there = (np.take(inside, _shifted(inside, axis, by), axis) for by in (0, 1))
        covered = [np.take(entity, _shifted(inside, axis, by), axis) for by in (0, 1)]
        border = (here != there) & ~covered[0] & ~covered[1]
        jumps.append(np.abs(np.diff(brightness, axis=axis))[border])
    return float(np.concatenate(jumps).mean())


def _shifted(rows: np.ndarray, axis: int, by: int) -> np.ndarray:
    return np.arange(by, rows.shape[axis] - 1 + by)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--prompts", default="miniature-test", help="prompt set")
    parser.add_argument("--groups", type=int, default=100)
    parser.add_argument("--schedule", help="schedule file; default: the shipped one")
    parser.add_argument("--picture", type=Path, help="PNG of the groups with the least coverage")
    options = parser.parse_args(arguments)
    inspector = RegionInspector(GenerationConfig(coupling_mode="region", schedule=options.schedule))
    scorer = load_scorer(ScoringConfig(), "cpu")
    samples = take_groups(build_samples(options.prompts, RunConfig()), options.groups)
    found: dict[str, RegionFit] = {}
    for sample in samples:
        found[sample.group.group_id] = inspector.measure(sample, scorer)
    _print(found)
    if options.picture:
        _draw(
            sorted(found.values(), key=lambda one: min(one.coverage, default=1.0)), options.picture
        )


def _print(found: dict[str, RegionFit]) -> None:
    seen = {name: one for name, one in found.items() if one.coverage}
    rows: dict[str, Mapping[str, Sequence[float]]] = {
        "region's share of the frame": {n: [one.region] for n, one in found.items()},
        "mask inside the region": {n: one.coverage for n, one in seen.items()},
        "entities with more than 5 % outside": {
            n: [float(share < 0.95) for share in one.coverage] for n, one in seen.items()
        },
        "jump across the border, 0..255": {n: [one.jumps] for n, one in found.items()},
        "... in the background alone": {n: [one.jumps_of_background] for n, one in found.items()},
    }
    for name, values in rows.items():
        mean = bootstrap_mean(values)
        print(f"{name:38} {mean.mean:6.3f} [{mean.low:.3f}, {mean.high:.3f}]  n={len(values)}")


def _draw(worst_first: Sequence[RegionFit], path: Path) -> None:
    rows = [np.concatenate(one.panels, axis=1) for one in worst_first[:_WORST_SHOWN]]
    sheet = Image.fromarray(np.concatenate(rows, axis=0))
    size = (sheet.width * _ENLARGED, sheet.height * _ENLARGED)
    sheet.resize(size, Image.Resampling.NEAREST).save(path)


if __name__ == "__main__":
    main()
