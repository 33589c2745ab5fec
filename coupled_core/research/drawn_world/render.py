"""Draws the miniature's scenes: an RGB picture and, for every pixel, the segment it belongs to.

Backgrounds are drawn in `backgrounds`; the ten entities here, each in a box from -1 to 1 around its
centre.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from PIL import Image

from coupled_core.research.drawn_world.backgrounds import draw_background
from coupled_core.research.drawn_world.canvas import Canvas, Colour, Point, blend, shade
from coupled_core.research.drawn_world.scenes import IMAGE_SIZE_PX, Scene

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
        _draw_entity(canvas, scene, scale)
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
    _draw_entity(canvas, scene, scale)
    return float((canvas.segment_array() == Canvas.ENTITY).mean()) / scale**2


_PAINT: dict[str, Colour] = {
    "red": (220, 36, 36), "orange": (248, 140, 20), "yellow": (250, 226, 40), "green": (40, 190, 60),
    "blue": (36, 80, 230), "purple": (150, 50, 200), "white": (250, 250, 250), "black": (28, 28, 32),
}  # fmt: skip
_ENTITY_LIGHT = {"noon": (1.0, 1.0, 1.0), "sunset": (1.0, 0.90, 0.84), "night": (0.80, 0.82, 0.92)}


class _Brush:
    """Draws in the entity's own coordinates; also knows its colours."""

    def __init__(self, canvas: Canvas, scene: Scene, scale: float) -> None:
        self._canvas, self._scene, self._scale = canvas, scene, scale
        self._light = _ENTITY_LIGHT[scene.light]
        main = _PAINT[scene.colour or "red"]
        self.main = self.lit(main)
        # A dark line around and inside a black thing would not be seen.
        self.dark = self.lit((96, 96, 104) if scene.colour == "black" else shade(main, 0.55))
        self.pale = self.lit(blend(main, (255, 255, 255), 0.35 if scene.colour == "black" else 0.6))

    def lit(self, colour: Colour) -> Colour:
        return shade(colour, self._light)

    def _at(self, point: Point) -> Point:
        x, y = point
        sign = -1.0 if self._scene.mirrored else 1.0
        return self._scene.centre_x + sign * x * self._scale, self._scene.centre_y + y * self._scale

    def polygon(self, points: Sequence[Point], fill: Colour) -> None:
        self._canvas.polygon([self._at(p) for p in points], fill)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Colour) -> None:
        cx, cy = self._at((x, y))
        self._canvas.ellipse(cx, cy, rx * self._scale, ry * self._scale, fill)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: Colour) -> None:
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], fill)


def _draw_entity(canvas: Canvas, scene: Scene, scale: float) -> None:
    """Draw the scene's entity; `scale` is half the width of its box as a fraction of the frame."""
    canvas.segment = Canvas.ENTITY
    _DRAW[scene.entity or ""](_Brush(canvas, scene, scale))


def _balloon(b: _Brush) -> None:
    b.polygon([(-0.62, 0.0), (0.62, 0.0), (0.2, 0.72), (-0.2, 0.72)], b.main)
    b.ellipse(0, -0.25, 0.75, 0.75, b.main)
    b.ellipse(0, -0.25, 0.28, 0.75, b.pale)
    b.box(-0.22, 0.68, 0.22, 1.0, b.lit((120, 80, 40)))


def _kite(b: _Brush) -> None:
    b.polygon([(0, -1.0), (0.72, -0.2), (0, 0.62), (-0.72, -0.2)], b.main)
    b.polygon([(0, -1.0), (0.72, -0.2), (0, -0.2)], b.pale)
    b.polygon([(0, 0.62), (-0.72, -0.2), (0, -0.2)], b.pale)
    b.polygon([(0, 0.58), (0.26, 0.8), (0.1, 1.0), (-0.12, 0.78)], b.dark)


def _umbrella(b: _Brush) -> None:
    b.box(-0.07, -0.2, 0.07, 0.9, b.lit((90, 70, 60)))
    b.box(-0.3, 0.78, 0.07, 0.92, b.lit((90, 70, 60)))
    dome = [
        (-1.0, 0.05),
        (-0.88, -0.36),
        (-0.55, -0.72),
        (0, -0.88),
        (0.55, -0.72),
        (0.88, -0.36),
        (1.0, 0.05),
    ]
    b.polygon(dome, b.main)
    b.polygon([(-0.34, 0.05), (0, -0.88), (0.34, 0.05)], b.pale)


def _tent(b: _Brush) -> None:
    b.polygon([(-1.0, 0.75), (0, -0.8), (1.0, 0.75)], b.main)
    b.polygon([(0, -0.8), (1.0, 0.75), (0.55, 0.75)], b.dark)
    b.polygon([(-0.32, 0.75), (0, -0.05), (0.32, 0.75)], b.lit((50, 40, 36)))


def _car(b: _Brush) -> None:
    b.box(-1.0, -0.1, 1.0, 0.42, b.main)
    b.polygon([(-0.68, -0.1), (-0.42, -0.6), (0.42, -0.6), (0.7, -0.1)], b.main)
    b.polygon(
        [(-0.5, -0.12), (-0.33, -0.48), (-0.05, -0.48), (-0.05, -0.12)], b.lit((190, 226, 246))
    )
    b.polygon([(0.08, -0.12), (0.08, -0.48), (0.33, -0.48), (0.52, -0.12)], b.lit((190, 226, 246)))
    for x in (-0.55, 0.55):
        b.ellipse(x, 0.42, 0.28, 0.28, b.lit((30, 30, 34)))
        b.ellipse(x, 0.42, 0.12, 0.12, b.lit((200, 200, 206)))


def _mushroom(b: _Brush) -> None:
    b.polygon([(-0.26, 0.0), (0.26, 0.0), (0.36, 0.92), (-0.36, 0.92)], b.lit((244, 232, 206)))
    b.polygon(
        [(-0.95, 0.1), (-0.8, -0.42), (-0.4, -0.8), (0.4, -0.8), (0.8, -0.42), (0.95, 0.1)], b.main
    )
    for x, y in ((-0.45, -0.2), (0.05, -0.5), (0.5, -0.15)):
        b.ellipse(x, y, 0.16, 0.16, b.pale)


def _butterfly(b: _Brush) -> None:
    for side in (-1.0, 1.0):
        b.polygon([(0, 0.0), (side * 0.45, -0.85), (side * 1.0, -0.75), (side * 0.85, 0.0)], b.main)
        b.polygon([(0, 0.0), (side * 0.8, 0.15), (side * 0.7, 0.75), (side * 0.3, 0.7)], b.pale)
    b.ellipse(0, 0, 0.13, 0.65, b.lit((50, 40, 40)))


def _rabbit(b: _Brush) -> None:
    for x in (-0.28, 0.16):
        b.polygon([(x, -0.2), (x - 0.1, -1.0), (x + 0.16, -1.0), (x + 0.24, -0.2)], b.main)
    b.ellipse(0.0, -0.15, 0.42, 0.38, b.main)
    b.ellipse(0.05, 0.55, 0.58, 0.5, b.main)
    b.ellipse(0.05, 0.62, 0.26, 0.3, b.pale)
    for x in (-0.17, 0.17):
        b.ellipse(x, -0.2, 0.09, 0.09, b.lit((20, 20, 24)) if b.main[0] > 60 else b.pale)


def _turtle(b: _Brush) -> None:
    skin = b.lit((130, 170, 90))
    b.ellipse(0.86, 0.12, 0.24, 0.22, skin)
    for x in (-0.5, 0.42):
        b.box(x - 0.16, 0.2, x + 0.16, 0.62, skin)
    b.polygon(
        [(-0.95, 0.34), (-0.8, -0.2), (-0.4, -0.55), (0.2, -0.55), (0.6, -0.2), (0.75, 0.34)],
        b.main,
    )
    for x in (-0.5, -0.08, 0.32):
        b.ellipse(x, -0.02, 0.15, 0.2, b.dark)


def _robot(b: _Brush) -> None:
    metal = b.lit((150, 156, 166))
    b.box(-0.05, -1.0, 0.05, -0.8, metal)
    b.box(-0.42, -0.84, 0.42, -0.22, b.main)
    for x in (-0.18, 0.18):
        b.ellipse(x, -0.54, 0.11, 0.11, b.lit((250, 250, 150)))
    b.box(-0.56, -0.16, 0.56, 0.5, b.main)
    b.box(-0.26, 0.0, 0.26, 0.3, b.dark)
    for x in (-0.76, 0.62):
        b.box(x, -0.12, x + 0.14, 0.4, metal)
    for x in (-0.4, 0.14):
        b.box(x, 0.5, x + 0.26, 0.95, metal)


_DRAW: dict[str, Callable[[_Brush], None]] = {
    "balloon": _balloon, "kite": _kite, "umbrella": _umbrella, "tent": _tent, "car": _car,
    "mushroom": _mushroom, "butterfly": _butterfly, "rabbit": _rabbit, "turtle": _turtle, "robot": _robot,
}  # fmt: skip
