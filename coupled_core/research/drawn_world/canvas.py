"""A drawing surface in unit coordinates that also keeps which segment each pixel shows."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]


class Canvas:
    """RGB picture and segment map of one size; x and y run from 0 to 1, y downwards."""

    SKY, GROUND, SUN, ENTITY, FIRST_FEATURE = 0, 1, 2, 3, 10

    def __init__(self, size_px: int) -> None:
        self.size_px = size_px
        self.image = Image.new("RGB", (size_px, size_px))
        self._segments = Image.new("L", (size_px, size_px), self.SKY)
        self._rgb, self._ids = ImageDraw.Draw(self.image), ImageDraw.Draw(self._segments)
        self.segment = self.SKY

    def segment_array(self) -> np.ndarray:
        """Return the segment ids, uint8, (size, size)."""
        return np.asarray(self._segments)

    def gradient(self, top: Colour, bottom: Colour, y0: float, y1: float) -> None:
        """Fill the rows from y0 to y1 with a vertical gradient."""
        first, last = round(y0 * self.size_px), round(y1 * self.size_px)
        for row in range(first, last):
            at = (row - first) / max(1, last - first - 1)
            colour = tuple(round(a + (b - a) * at) for a, b in zip(top, bottom, strict=True))
            self._rgb.line([(0, row), (self.size_px, row)], fill=colour)
        self._ids.rectangle([0, first, self.size_px, last], fill=self.segment)

    def polygon(self, points: Sequence[Point], fill: Colour) -> None:
        """Fill a polygon."""
        scaled = [(x * self.size_px, y * self.size_px) for x, y in points]
        self._rgb.polygon(scaled, fill=fill)
        self._ids.polygon(scaled, fill=self.segment)

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: Colour) -> None:
        """Fill an axis-parallel ellipse with centre (x, y) and radii rx, ry."""
        box = [v * self.size_px for v in (x - rx, y - ry, x + rx, y + ry)]
        self._rgb.ellipse(box, fill=fill)
        self._ids.ellipse(box, fill=self.segment)

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, fill: Colour) -> None:
        """Fill the rectangle from (x0, y0) to (x1, y1)."""
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], fill)


def shade(colour: Colour, factor: Sequence[float] | float) -> Colour:
    """Multiply a colour by a factor, or a factor a channel, within 0..255."""
    factors = (factor,) * 3 if isinstance(factor, int | float) else factor
    red, green, blue = (
        min(255, max(0, round(c * f))) for c, f in zip(colour, factors, strict=True)
    )
    return red, green, blue


def blend(colour: Colour, other: Colour, weight: float) -> Colour:
    """Return (1 - weight) * colour + weight * other."""
    red, green, blue = (round(a + (b - a) * weight) for a, b in zip(colour, other, strict=True))
    return red, green, blue
