"""Draws the miniature's scenes: an RGB picture and, for every pixel, the segment it belongs to."""

from functools import lru_cache

import numpy as np
from PIL import Image

from coupled_core.miniature.backgrounds import draw_background
from coupled_core.miniature.canvas import Canvas
from coupled_core.miniature.entities import draw_entity
from coupled_core.miniature.world import IMAGE_SIZE_PX, Scene

SUPERSAMPLING = 4


def draw_scene(
    scene: Scene, size_px: int = IMAGE_SIZE_PX
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw a scene.

    Returns:
        image: uint8, (size, size, 3).
        entity_mask: bool, (size, size); more than half of the pixel is entity.
        segments: uint8, (size, size); the id of what a pixel's centre shows (`canvas.SKY` and on).
    """
    canvas = Canvas(size_px * SUPERSAMPLING)
    draw_background(canvas, scene)
    if scene.entity is not None and scene.colour is not None:
        scale = (scene.area / _unit_area(scene.entity)) ** 0.5
        draw_entity(canvas, scene, scale)
    image = canvas.image.resize((size_px, size_px), Image.Resampling.BOX)
    segments = canvas.segment_array()
    coverage = (segments == Canvas.ENTITY).reshape(size_px, SUPERSAMPLING, size_px, SUPERSAMPLING)
    centre = SUPERSAMPLING // 2
    return (
        np.asarray(image).copy(),
        coverage.mean(axis=(1, 3)) > 0.5,
        segments[centre::SUPERSAMPLING, centre::SUPERSAMPLING].copy(),
    )


@lru_cache
def _unit_area(entity: str) -> float:
    """Return the share of the frame that an entity at scale 1 in the middle would cover."""
    canvas = Canvas(512)
    scale = 0.2
    scene = Scene("meadow", "noon", (0.0,) * 6, 0, entity=entity, colour="red")
    draw_entity(canvas, scene, scale)
    return float((canvas.segment_array() == Canvas.ENTITY).mean()) / scale**2
