"""Rendered scenes for training: drawn once by worker processes, kept as arrays on disk."""

import json
import multiprocessing
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from coupled_core.miniature.render import draw_scene
from coupled_core.miniature.world import GENERATOR_DEPENDENCE, Scene, sample_scene

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
