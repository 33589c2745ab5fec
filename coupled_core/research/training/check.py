"""Measures the miniature: `python -m coupled_core.research.training.check`."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from diffusers import FluxPipeline
from PIL import Image

from coupled_core.miniature import miniature_folder
from coupled_core.research.drawn_world.captions import write_caption
from coupled_core.research.drawn_world.render import draw_scene
from coupled_core.research.drawn_world.scenes import CaptionKind, Scene, sample_scene
from coupled_core.research.evaluation.scorer_error import (
    Figure,
    check_clip,
    check_masks,
    mean,
    share,
)
from coupled_core.research.training.classifier import NOTHING, SceneClassifier, load_classifier
from coupled_core.scoring.clip import load_clip
from coupled_core.scoring.entity_masks import EntityFinder
from coupled_core.scoring.metrics import background_similarity, joint_entity_region
from coupled_core.scoring.sam import load_sam

CHECK_SEED = 900_000  # training draws its scenes from other seeds
NUM_INFERENCE_STEPS = 24
BATCH_SIZE = 25


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="coupled_core.research.training.check", description=__doc__
    )
    parser.add_argument(
        "--samples", type=int, default=200, help="images generated from full prompts"
    )
    parser.add_argument("--renders", type=int, default=1000, help="held-out renders")
    parser.add_argument("--pictures", type=Path, help="write PNG sheets of what was generated here")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    args = parser.parse_args()
    figures = measure(args.samples, args.renders, args.pictures)
    for figure in figures:
        goal = (
            ""
            if figure.goal is None
            else f"  goal {figure.goal:.2f} {'met' if figure.value >= figure.goal else 'MISSED'}"
        )
        interval = f"[{figure.low:.3f}, {figure.high:.3f}] n={figure.count}"
        print(f"{figure.name:58s} {figure.value:7.3f} {interval}{goal}")
    if args.json:
        args.json.write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n")


def measure(samples: int, renders: int, pictures: Path | None = None) -> list[Figure]:
    """Return every figure, judges first: they judge what follows."""
    classifier, clip = (
        load_classifier(miniature_folder("classifier")),
        load_clip("miniature", "cpu"),
    )
    finder = EntityFinder(load_sam("miniature", "cpu"), clip)
    rng = np.random.default_rng(CHECK_SEED)
    scenes = [sample_scene(rng, dependence=0.0) for _ in range(renders)]
    figures = check_classifier(classifier, scenes)
    figures += check_clip(clip, scenes, rng)
    figures += check_masks(finder, scenes[: min(renders, 150)], rng)
    pipeline = FluxPipeline.from_pretrained(miniature_folder("flux"), dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    kinds: tuple[tuple[CaptionKind, int], ...] = (
        ("full", samples),
        ("background", samples // 2),
        ("entity", samples // 2),
    )
    for kind, count in kinds:
        figures += check_generation(pipeline, classifier, kind, count, pictures)
    return [*figures, check_random_seed(pipeline, finder, min(samples, 60), pictures)]


def check_classifier(classifier: SceneClassifier, scenes: Sequence[Scene]) -> list[Figure]:
    """Return the accuracy on held-out renders."""
    readings = classifier.read(np.stack([draw_scene(scene)[0] for scene in scenes]))
    both = list(zip(readings, scenes, strict=True))
    return [
        share(
            f"classifier on renders: {name}",
            [getattr(reading, name) == getattr(scene, name) for reading, scene in both],
            0.98,
        )
        for name in ("background", "light", "entity", "colour")
    ]


def check_generation(
    pipeline: FluxPipeline,
    classifier: SceneClassifier,
    kind: CaptionKind,
    samples: int,
    pictures: Path | None,
) -> list[Figure]:
    """Return what the classifier sees in stock generations from one kind of prompt."""
    rng = np.random.default_rng((CHECK_SEED, len(kind)))
    scenes = [sample_scene(rng, dependence=0.0) for _ in range(samples)]
    prompts = [write_caption(rng, scene, kind) for scene in scenes]
    images = generate(pipeline, prompts, [CHECK_SEED + i for i in range(samples)])
    if pictures is not None:
        save_sheet(images, pictures / f"generated-{kind}.png")
    readings = classifier.read(images)
    figures = []
    for name, goal in (("background", 0.95), ("light", 0.95), ("entity", 0.90), ("colour", None)):
        if kind == "entity" and name in ("background", "light"):
            continue  # the prompt leaves them open
        wanted = [
            NOTHING if kind == "background" and name in ("entity", "colour") else getattr(s, name)
            for s in scenes
        ]
        hits = [getattr(r, name) == w for r, w in zip(readings, wanted, strict=True)]
        figures.append(
            share(
                f"generated from the {kind} prompt: {name}", hits, goal if kind == "full" else None
            )
        )
    return figures


def check_random_seed(
    pipeline: FluxPipeline, finder: EntityFinder, pairs: int, pictures: Path | None
) -> Figure:
    """Return S of two full prompts of one place from the same noise: what coupling has to beat."""
    rng = np.random.default_rng((CHECK_SEED, 7))
    prompts, entities, backgrounds, seeds = [], [], [], []
    for pair in range(pairs):
        first = sample_scene(rng, dependence=0.0)
        place = write_caption(rng, first, "background")
        for scene in (first, sample_scene(rng, dependence=0.0)):
            shown = Scene(
                first.background, first.light, first.layout, 0, scene.entity, scene.colour
            )
            prompts.append(write_caption(rng, shown, "full"))
            entities.append(write_caption(rng, shown, "entity"))
            backgrounds.append(place)
            seeds.append(CHECK_SEED + pair)
    images = generate(pipeline, prompts, seeds)
    if pictures is not None:
        save_sheet(images, pictures / "same-seed-pairs.png")
    masks = [finder.find(*row).mask for row in zip(images, entities, backgrounds, strict=True)]
    values = [
        background_similarity(list(images[i : i + 2]), joint_entity_region(masks[i : i + 2]))
        for i in range(0, 2 * pairs, 2)
    ]
    return mean("background similarity of same-seed stock pairs (0 is equal)", values)


@torch.no_grad()
def generate(pipeline: FluxPipeline, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
    """Return uint8 (B, 64, 64, 3) of the stock pipeline, each from the noise of its own seed."""
    parts = []
    for start in range(0, len(prompts), BATCH_SIZE):
        generators = [
            torch.Generator().manual_seed(seed) for seed in seeds[start : start + BATCH_SIZE]
        ]
        result = pipeline(
            prompt=list(prompts[start : start + BATCH_SIZE]),
            generator=generators,
            height=64,
            width=64,
            num_inference_steps=NUM_INFERENCE_STEPS,
            output_type="np",
            max_sequence_length=pipeline.tokenizer_2.model_max_length,
        )
        parts.append((result.images * 255).round().astype(np.uint8))
    return np.concatenate(parts)


def save_sheet(images: np.ndarray, path: Path, columns: int = 10) -> None:
    """Write up to ten rows of images, doubled in size."""
    rows = [
        np.concatenate(images[i : i + columns], axis=1)
        for i in range(0, min(len(images), 100), columns)
    ]
    sheet = Image.fromarray(np.concatenate([row for row in rows if row.shape == rows[0].shape]))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.resize((sheet.width * 2, sheet.height * 2), Image.Resampling.NEAREST).save(path)


if __name__ == "__main__":
    main()
