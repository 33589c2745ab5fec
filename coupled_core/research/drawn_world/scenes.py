"""The miniature's world: what a scene is, and how one is drawn at random.

Two distributions over the same scenes matter:

* `dependence` > 0: horizon, sun, trees and tint of a background lean towards values that belong to
  the entity in it, as they do in photographs. The generator is trained on this one; without it the
  same starting noise would keep the background whatever the prompt says, and coupling would have
  nothing to do.
* `dependence` = 0: layout and entity are independent. Every judge (CLIP, Segment Anything, the
  classifier) is trained on this one; otherwise it reads the entity off the background and punishes
  every method that shares a background.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

IMAGE_SIZE_PX = 64
ENTITY_AREA = (0.06, 0.10)  # fraction of the frame that an entity covers

BACKGROUNDS = (
    "meadow", "beach", "desert", "snowfield", "forest", "lake", "city", "mountains",
)  # fmt: skip
LIGHTS = ("noon", "sunset", "night")
ENTITIES = (
    "balloon", "kite", "umbrella", "tent", "car",
    "mushroom", "butterfly", "rabbit", "turtle", "robot",
)  # fmt: skip
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "white", "black")
AIRBORNE = frozenset({"balloon", "kite", "butterfly"})

NUM_LAYOUT = 6  # horizon, sun position, feature phase, feature size, ground tint, sky tint
GENERATOR_DEPENDENCE = 0.8
CaptionKind = Literal["full", "background", "entity"]


@dataclass(frozen=True)
class Scene:
    """All that a picture shows; `render.draw_scene` is a pure function of it."""

    background: str
    light: str
    layout: tuple[float, ...]
    """`NUM_LAYOUT` values, each about N(0, 1)."""
    texture_seed: int
    """Seeds stars, flowers and windows: detail that no caption mentions."""
    entity: str | None = None
    colour: str | None = None
    centre_x: float = 0.5
    """Fraction of the width."""
    centre_y: float = 0.5
    """Fraction of the height."""
    area: float = 0.08
    """Fraction of the frame that the entity covers."""
    mirrored: bool = False


def layout_mean(entity: str, colour: str) -> np.ndarray:
    """Return the layout that an entity pulls its background towards, shape (NUM_LAYOUT,).

    The geometry (first four) belongs to the kind of entity, the tints (last two) to its colour.
    """
    kinds = np.random.default_rng(20).permuted(
        np.tile(np.linspace(-1.5, 1.5, len(ENTITIES)), (4, 1)), axis=1
    )
    tints = np.random.default_rng(21).permuted(
        np.tile(np.linspace(-1.5, 1.5, len(COLOURS)), (2, 1)), axis=1
    )
    return np.concatenate([kinds[:, ENTITIES.index(entity)], tints[:, COLOURS.index(colour)]])


def sample_scene(rng: np.random.Generator, *, dependence: float, with_entity: bool = True) -> Scene:
    """Draw a scene at random.

    Args:
        dependence: in [0, 1]; the correlation between the layout and the entity in it.
    """
    noise = rng.standard_normal(NUM_LAYOUT)
    scene = Scene(
        background=str(rng.choice(BACKGROUNDS)),
        light=str(rng.choice(LIGHTS)),
        layout=tuple(noise.tolist()),
        texture_seed=int(rng.integers(2**31)),
    )
    if not with_entity:
        return scene
    entity, colour = str(rng.choice(ENTITIES)), str(rng.choice(COLOURS))
    layout = dependence * layout_mean(entity, colour) + np.sqrt(1.0 - dependence**2) * noise
    low, high = (0.24, 0.50) if entity in AIRBORNE else (0.52, 0.80)
    return replace(
        scene,
        layout=tuple(layout.tolist()),
        entity=entity,
        colour=colour,
        centre_x=float(rng.uniform(0.22, 0.78)),
        centre_y=float(rng.uniform(low, high)),
        area=float(rng.uniform(*ENTITY_AREA)),
        mirrored=bool(rng.random() < 0.5),
    )
