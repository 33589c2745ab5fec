"""Captions of the miniature's scenes, in plain English with varied wording."""

import numpy as np

from coupled_core.research.drawn_world.scenes import CaptionKind, Scene

_PLACES = {
    "meadow": ("in a vibrant meadow", "in a green meadow", "in a grassy meadow", "in a meadow of flowers"),
    "beach": ("on a sandy beach", "on a beach by the sea", "on a quiet beach", "on a tropical beach"),
    "desert": ("in a dry desert", "in a desert of dunes", "in a wide desert", "in a desert with cacti"),
    "snowfield": ("in a snowy field", "in a white snowfield", "on a field of snow", "in a frozen snowfield"),
    "forest": ("in a dense forest", "in a dark forest", "in a forest of tall trees", "in a deep forest"),
    "lake": ("by a calm lake", "at a blue lake", "by a lake under green hills", "at a still lake"),
    "city": ("in a busy city", "in a modern city", "on a city square", "in a city of towers"),
    "mountains": ("in the high mountains", "in rocky mountains", "in a mountain valley", "below snowy mountains"),
}  # fmt: skip
_LIGHTS = {
    "noon": ("at noon", "in bright daylight", "under the midday sun", "on a clear day"),
    "sunset": (
        "at sunset",
        "in the evening glow",
        "under a red evening sky",
        "in the last light of the day",
    ),
    "night": ("at night", "in the moonlight", "under the stars", "on a starry night"),
}
_VERBS = {
    "balloon": ("floats", "drifts", "rises"),
    "kite": ("flies", "soars", "hovers"),
    "umbrella": ("stands open", "stands", "rests"),
    "tent": ("stands", "is pitched", "rests"),
    "car": ("is parked", "stands", "drives"),
    "mushroom": ("grows", "stands", "sprouts"),
    "butterfly": ("flutters", "flies", "hovers"),
    "rabbit": ("sits", "rests", "waits"),
    "turtle": ("crawls", "rests", "walks"),
    "robot": ("stands", "walks", "waits"),
}
_FULL = (
    "a {thing} {verb} {place} {light}",
    "a {thing} {place} {light}",
    "{light}, a {thing} {verb} {place}",
    "{place}, a {thing} {verb} {light}",
    "{place} {light}, a {thing} {verb}",
    "there is a {thing} {place} {light}",
    "a picture of a {thing} {place} {light}",
)
_BACKGROUND = (
    "{place} {light}",
    "{light}, {place}",
    "{bare} {light}",
    "{bare} {light}",
    "a view of {bare} {light}",
    "an empty scene {place} {light}",
)
_ENTITY = (
    "a {thing}",
    "a {thing} {verb}",
    "one {thing}",
    "a picture of a {thing}",
    "there is a {thing}",
)


def write_caption(rng: np.random.Generator, scene: Scene, kind: CaptionKind) -> str:
    """Describe a scene, wording drawn at random.

    Args:
        kind: "full" names entity, place and light; "background" place and light; "entity" the
            entity alone.
    """
    place, light = _pick(rng, _PLACES[scene.background]), _pick(rng, _LIGHTS[scene.light])
    words = {"place": place, "light": light, "bare": place.split(" ", 1)[1]}
    if kind != "background":
        if scene.entity is None:
            raise ValueError(f"expected a scene with an entity for a {kind!r} caption, got none")
        words |= {
            "thing": f"{scene.colour} {scene.entity}",
            "verb": _pick(rng, _VERBS[scene.entity]),
        }
    templates = {"full": _FULL, "background": _BACKGROUND, "entity": _ENTITY}[kind]
    text = _pick(rng, templates).format(**words).replace("a orange", "an orange")
    return text[0].upper() + text[1:] + ("." if rng.random() < 0.7 else "")


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]
