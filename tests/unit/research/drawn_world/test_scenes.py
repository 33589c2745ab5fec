from dataclasses import replace

import numpy as np
import pytest

from coupled_core.research.drawn_world.captions import write_caption
from coupled_core.research.drawn_world.render import draw_scene
from coupled_core.research.drawn_world.scenes import (
    BACKGROUNDS,
    COLOURS,
    ENTITIES,
    ENTITY_AREA,
    LIGHTS,
    NUM_LAYOUT,
    Scene,
    layout_mean,
    sample_scene,
)


def _scenes(count: int, dependence: float, seed: int = 0) -> list[Scene]:
    rng = np.random.default_rng(seed)
    return [sample_scene(rng, dependence=dependence) for _ in range(count)]


def test_the_world_is_as_large_as_promised():
    assert len(BACKGROUNDS) >= 8
    assert len(LIGHTS) == 3
    assert len(ENTITIES) >= 10
    assert len(COLOURS) == 8


def test_a_scene_is_drawn_the_same_every_time():
    scene = _scenes(1, 0.8)[0]
    first, second = draw_scene(scene), draw_scene(scene)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("entity", ENTITIES)
def test_an_entity_covers_the_area_that_its_scene_says(entity):
    for area in ENTITY_AREA:
        scene = Scene("meadow", "noon", (0.0,) * NUM_LAYOUT, 1, entity, "red", 0.5, 0.5, area)
        _, mask, _ = draw_scene(scene)
        assert mask.mean() == pytest.approx(area, abs=0.012)


def test_the_mask_is_where_the_picture_with_the_entity_differs():
    scene = Scene("beach", "sunset", (0.3,) * NUM_LAYOUT, 5, "car", "blue", 0.4, 0.7, 0.08)
    with_entity, mask, _ = draw_scene(scene)
    without, empty, _ = draw_scene(replace(scene, entity=None, colour=None))
    changed = (with_entity != without).any(axis=2)
    assert not empty.any()
    assert changed[mask].all()
    assert (changed & ~mask).sum() < 0.5 * mask.sum()  # soft edges only


def test_every_background_in_every_light_differs_from_the_others():
    layout = (0.0,) * NUM_LAYOUT
    pictures = [draw_scene(Scene(b, light, layout, 0))[0] for b in BACKGROUNDS for light in LIGHTS]
    for index, first in enumerate(pictures):
        for second in pictures[index + 1 :]:
            assert np.abs(first.astype(int) - second.astype(int)).mean() > 5


def test_layout_leans_on_the_entity_only_where_it_should():
    dependent = np.array(
        [np.corrcoef(s.layout, layout_mean(s.entity, s.colour))[0, 1] for s in _scenes(400, 0.8)]
    )
    independent = np.array(
        [np.corrcoef(s.layout, layout_mean(s.entity, s.colour))[0, 1] for s in _scenes(400, 0.0)]
    )
    assert dependent.mean() > 0.5
    assert abs(independent.mean()) < 0.1


def test_captions_say_what_their_kind_says():
    rng = np.random.default_rng(1)
    for scene in _scenes(50, 0.0):
        full, background, entity = (
            write_caption(rng, scene, k) for k in ("full", "background", "entity")
        )
        thing = f"{scene.colour} {scene.entity}"
        assert thing in full
        assert thing in entity
        assert scene.entity not in background.lower()
        assert full[0].isupper()


def test_a_full_caption_of_an_empty_scene_is_refused():
    scene = sample_scene(np.random.default_rng(0), dependence=0.0, with_entity=False)
    with pytest.raises(ValueError, match="expected a scene with an entity"):
        write_caption(np.random.default_rng(0), scene, "full")
