"""Rendered scenes for training: drawn once by worker processes, kept as arrays on disk."""

import json
import multiprocessing
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from coupled_core.research.drawn_world.render import draw_scene
from coupled_core.research.drawn_world.scenes import GENERATOR_DEPENDENCE, Scene, sample_scene

_CHUNK = 1000


@dataclass(frozen=True)
class SceneSet:
    """Scenes and their pictures."""

    scenes: list[Scene]
    images: np.ndarray
    """uint8, (count, 64, 64, 3)."""
    masks: np.ndarray
    """bool, (count, 64, 64); the entity."""
    segments: np.ndarray
    """uint8, (count, 64, 64)."""


def render_scenes(
    work_dir: Path, name: str, count: int, *, seed: int, dependent: bool, empty: float
) -> SceneSet:
    """Render a set of scenes, or load it where it has been rendered before.

    Args:
        dependent: draw layouts that lean on the entity (the generator's world) or independent ones
            (the judges').
        empty: share of scenes without an entity.
    """
    folder = work_dir / f"{name}-{count}-{seed}"
    if not (folder / "scenes.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        dependence = GENERATOR_DEPENDENCE if dependent else 0.0
        jobs = [
            (seed, chunk, min(_CHUNK, count - chunk), dependence, empty)
            for chunk in range(0, count, _CHUNK)
        ]
        with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
            parts = pool.starmap(_render_chunk, jobs)
        for index, key in enumerate(("images", "masks", "segments")):
            np.save(folder / f"{key}.npy", np.concatenate([part[index + 1] for part in parts]))
        records = [asdict(scene) for part in parts for scene in part[0]]
        (folder / "scenes.json").write_text(json.dumps(records))
    records = json.loads((folder / "scenes.json").read_text())
    scenes = [Scene(**{**r, "layout": tuple(r["layout"])}) for r in records]
    arrays = [
        np.load(folder / f"{key}.npy", mmap_mode="r") for key in ("images", "masks", "segments")
    ]
    return SceneSet(scenes, *arrays)


def _render_chunk(
    seed: int, chunk: int, count: int, dependence: float, empty: float
) -> tuple[list[Scene], np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng((seed, chunk))
    scenes = [
        sample_scene(rng, dependence=dependence, with_entity=bool(rng.random() >= empty))
        for _ in range(count)
    ]
    drawn = [draw_scene(scene) for scene in scenes]
    images, masks, segments = (np.stack(column) for column in zip(*drawn, strict=True))
    return scenes, images, masks, segments


def to_pixels(images: np.ndarray) -> Tensor:
    """Return float32 (count, 3, H, W) in [-1, 1] of uint8 (count, H, W, 3)."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def soften(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Blur each picture by a random amount and add faint noise, as generated pictures have.

    Judges that saw nothing but crisp edges would be thrown by soft ones.

    Args:
        pixels: float (B, 3, H, W) in [-1, 1].
    """
    blurred = functional.avg_pool2d(
        functional.pad(pixels, (1, 1, 1, 1), mode="replicate"), 3, stride=1
    )
    amount = torch.from_numpy(rng.uniform(0, 0.9, len(pixels)).astype(np.float32)).view(-1, 1, 1, 1)
    noise = torch.from_numpy(rng.standard_normal(pixels.shape, dtype=np.float32))
    level = torch.from_numpy(rng.uniform(0, 0.05, len(pixels)).astype(np.float32)).view(-1, 1, 1, 1)
    amount, noise, level = (value.to(pixels.device) for value in (amount, noise, level))
    return (pixels.lerp(blurred, amount) + noise * level).clamp(-1, 1)
