"""The eight backgrounds of the miniature's world, each a function of light and layout."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from coupled_core.research.drawn_world.canvas import Canvas, Colour, blend, shade
from coupled_core.research.drawn_world.scenes import Scene


@dataclass(frozen=True)
class _Light:
    sky_top: Colour
    sky_bottom: Colour
    sun: Colour
    sun_height: float  # fraction of the sky above the horizon
    ground: tuple[float, float, float]  # factor on every colour of the ground


_LIGHTS = {
    "noon": _Light((70, 150, 240), (186, 222, 250), (255, 250, 214), 0.75, (1.0, 1.0, 1.0)),
    "sunset": _Light((122, 62, 128), (255, 160, 84), (255, 214, 120), 0.25, (1.0, 0.74, 0.62)),
    "night": _Light((8, 10, 40), (36, 46, 98), (232, 236, 246), 0.70, (0.34, 0.40, 0.60)),
}


@dataclass(frozen=True)
class _Place:
    """Layout of one background in units of the frame."""

    light: _Light
    horizon: float
    phase: float
    size: float
    tint: Colour
    rng: np.random.Generator

    def ground(self, colour: Colour) -> Colour:
        """Colour of something lit by this light and tinted by this layout."""
        return shade(blend(colour, self.tint, 0.22), self.light.ground)

    def columns(self, count: int, spread: float = 0.0) -> list[float]:
        """Return `count` x positions that move with the phase, wrapping around the frame."""
        jitter = self.rng.uniform(-spread, spread, count)
        return [float((self.phase + i / count + jitter[i]) % 1.16 - 0.08) for i in range(count)]


def draw_background(canvas: Canvas, scene: Scene) -> None:
    """Draw sky, sun, ground and features."""
    z = np.tanh(np.asarray(scene.layout) / 1.5)  # (-1, 1)
    light = _LIGHTS[scene.light]
    tint = blend((150, 110, 60), (60, 110, 160), (z[4] + 1) / 2)
    place = _Place(
        light, 0.50 + 0.11 * z[0], 0.5 + 0.5 * z[2], 1.0 + 0.38 * z[3], tint,
        np.random.default_rng(scene.texture_seed),
    )  # fmt: skip
    sky_tint: Colour = blend((230, 120, 120), (90, 200, 190), (z[5] + 1) / 2)
    canvas.segment = Canvas.SKY
    canvas.gradient(
        blend(light.sky_top, sky_tint, 0.16),
        blend(light.sky_bottom, sky_tint, 0.16),
        0.0,
        place.horizon,
    )
    if scene.light == "night":
        for x, y in place.rng.uniform((0, 0), (1, place.horizon), (8, 2)):
            canvas.ellipse(x, y, 0.006, 0.006, (210, 214, 236))
    canvas.segment = Canvas.SUN
    radius = 0.075 if scene.light == "sunset" else 0.055
    canvas.ellipse(
        0.5 + 0.38 * z[1], place.horizon * (1 - light.sun_height), radius, radius, light.sun
    )
    _DRAW[scene.background](canvas, place)


def _ground(canvas: Canvas, place: _Place, near: Colour, far: Colour) -> None:
    canvas.segment = Canvas.GROUND
    canvas.gradient(place.ground(far), place.ground(near), place.horizon, 1.0)
    canvas.segment = Canvas.FIRST_FEATURE


def _next(canvas: Canvas) -> None:
    canvas.segment = min(canvas.segment + 1, 255)


def _meadow(canvas: Canvas, place: _Place) -> None:
    _ground(canvas, place, (70, 150, 50), (150, 200, 90))
    for x in place.columns(3):
        canvas.ellipse(
            x, place.horizon, 0.10 * place.size, 0.07 * place.size, place.ground((50, 120, 50))
        )
        _next(canvas)
    canvas.segment = Canvas.GROUND
    for x, y in place.rng.uniform((0, place.horizon + 0.04), (1, 1), (14, 2)):
        canvas.ellipse(x, y, 0.009, 0.009, place.ground((250, 225, 120)))


def _beach(canvas: Canvas, place: _Place) -> None:
    _ground(canvas, place, (236, 210, 150), (246, 226, 176))
    shore = place.horizon + 0.14 * place.size
    canvas.rectangle(0, place.horizon, 1, shore, place.ground((40, 140, 190)))
    _next(canvas)
    canvas.rectangle(0, shore, 1, shore + 0.015, place.ground((240, 248, 250)))
    for x in place.columns(2):
        _next(canvas)
        trunk, leaf = place.ground((120, 84, 50)), place.ground((44, 130, 60))
        top = place.horizon - 0.20 * place.size
        canvas.polygon(
            [(x, shore + 0.1), (x + 0.03, shore + 0.1), (x + 0.045, top), (x + 0.03, top)], trunk
        )
        for dx, dy in ((-0.13, 0.03), (0.13, 0.03), (-0.09, -0.05), (0.09, -0.05)):
            tip = (x + 0.035 + dx * place.size, top + dy + 0.03)
            canvas.polygon([(x + 0.035, top - 0.02), tip, (x + 0.035, top + 0.025)], leaf)


def _desert(canvas: Canvas, place: _Place) -> None:
    _ground(canvas, place, (214, 150, 76), (238, 190, 116))
    for x in place.columns(2):
        width = 0.34 * place.size
        base, crest = place.horizon + 0.01, place.horizon - 0.11 * place.size
        canvas.polygon(
            [(x - width, base), (x - 0.05, crest), (x + width, base)], place.ground((226, 172, 96))
        )
        canvas.polygon(
            [(x - 0.05, crest), (x + width, base), (x + 0.04, base)], place.ground((188, 128, 66))
        )
        _next(canvas)
    for x in place.columns(3)[1:]:
        green, foot = place.ground((60, 128, 70)), place.horizon + 0.12
        top = foot - 0.22 * place.size
        canvas.rectangle(x - 0.016, top, x + 0.016, foot, green)
        canvas.rectangle(x - 0.055, top + 0.06, x - 0.03, top + 0.12, green)
        canvas.rectangle(x - 0.055, top + 0.10, x + 0.055, top + 0.125, green)
        canvas.rectangle(x + 0.03, top + 0.04, x + 0.055, top + 0.12, green)
        _next(canvas)


def _snowfield(canvas: Canvas, place: _Place) -> None:
    _ground(canvas, place, (246, 250, 255), (214, 226, 244))
    for x in place.columns(4):
        foot = place.horizon + 0.05
        for level in range(3):
            half, top = (
                (0.075 - 0.016 * level) * place.size,
                foot - (0.10 + 0.07 * level) * place.size,
            )
            low = foot - 0.06 * level * place.size
            canvas.polygon(
                [(x - half, low), (x, top), (x + half, low)], place.ground((80, 120, 120))
            )
            canvas.polygon([(x - half / 2, (low + top) / 2), (x, top), (x + half / 2, (low + top) / 2)],
                           place.ground((240, 246, 255)))  # fmt: skip
        _next(canvas)


def _forest(canvas: Canvas, place: _Place) -> None:
    _ground(canvas, place, (52, 84, 40), (72, 104, 52))
    canopy = max(0.0, place.horizon - 0.34 * place.size)
    for x in place.columns(7):
        canvas.ellipse(x, canopy + 0.08, 0.13, 0.14, place.ground((30, 84, 40)))
        canvas.ellipse(x + 0.04, canopy + 0.16, 0.09, 0.08, place.ground((46, 104, 50)))
    _next(canvas)
    for x in place.columns(7):
        half = 0.018 * place.size
        canvas.rectangle(
            x - half, canopy + 0.14, x + half, place.horizon + 0.06, place.ground((84, 58, 38))
        )
        _next(canvas)


def _lake(canvas: Canvas, place: _Place) -> None:
    _ground(canvas, place, (40, 104, 160), (110, 170, 210))
    for x in place.columns(3):
        canvas.ellipse(
            x, place.horizon + 0.02, 0.26, 0.16 * place.size, place.ground((84, 136, 84))
        )
        _next(canvas)
    canvas.segment = Canvas.GROUND
    canvas.gradient(
        place.ground((110, 170, 210)), place.ground((40, 104, 160)), place.horizon + 0.02, 0.88
    )
    for row in range(6):
        y = place.horizon + 0.07 + 0.05 * row
        x = (place.phase + 0.37 * row) % 1.0
        canvas.rectangle(x - 0.10, y, x + 0.10, y + 0.012, place.ground((160, 206, 232)))
    _next(canvas)
    canvas.gradient(place.ground((120, 150, 80)), place.ground((90, 120, 60)), 0.88, 1.0)


def _city(canvas: Canvas, place: _Place) -> None:
    _ground(canvas, place, (112, 112, 120), (150, 150, 156))
    heights = np.random.default_rng(7).uniform(0.12, 0.34, 7) * place.size
    for x, height in zip(place.columns(7), heights, strict=True):
        top = place.horizon - height
        wall = place.ground((126, 116, 128) if height > 0.22 else (164, 128, 112))
        canvas.rectangle(x - 0.062, top, x + 0.062, place.horizon + 0.01, wall)
        lit = (250, 226, 130) if place.light is _LIGHTS["night"] else place.ground((206, 222, 234))
        for dx in (-0.03, 0.022):
            for row in range(int(height / 0.07)):
                y = top + 0.03 + 0.07 * row
                canvas.rectangle(x + dx - 0.013, y, x + dx + 0.013, y + 0.028, lit)
        _next(canvas)
    canvas.segment = Canvas.GROUND
    for i in range(4):
        x = (place.phase + 0.25 * i) % 1.0
        canvas.rectangle(x - 0.05, 0.90, x + 0.05, 0.925, place.ground((226, 226, 216)))


def _mountains(canvas: Canvas, place: _Place) -> None:
    _ground(canvas, place, (110, 122, 84), (146, 150, 116))
    for i, x in enumerate(place.columns(3)):
        height, half = (0.30 + 0.05 * (i % 2)) * place.size, 0.27
        top = place.horizon - height
        canvas.polygon(
            [(x - half, place.horizon), (x, top), (x + half, place.horizon)],
            place.ground((112, 112, 126)),
        )
        canvas.polygon(
            [(x, top), (x + half, place.horizon), (x + 0.05, place.horizon)],
            place.ground((84, 84, 98)),
        )
        cap = top + 0.3 * height
        canvas.polygon(
            [(x - 0.3 * half, cap), (x, top), (x + 0.3 * half, cap)], place.ground((240, 244, 252))
        )
        _next(canvas)


_DRAW: dict[str, Callable[[Canvas, _Place], None]] = {
    "meadow": _meadow, "beach": _beach, "desert": _desert, "snowfield": _snowfield,
    "forest": _forest, "lake": _lake, "city": _city, "mountains": _mountains,
}  # fmt: skip
