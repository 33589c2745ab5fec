"""Rings around entities on drawn scenes: a seam is told, the same pictures are not."""

import numpy as np
import pytest

from coupled_core.research.evaluation.rings import RingFeatures, describe_rings, tell_apart

NUM_GROUPS = 40


def draw(rng: np.random.Generator, halo: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a disc on a smooth sky, with a bright line of so many levels around it."""
    rows, columns = np.mgrid[:64, :64]
    distance = np.hypot(rows - rng.integers(24, 40), columns - rng.integers(24, 40))
    sky = 90.0 + rng.uniform(0, 60) + rng.uniform(-0.5, 0.5) * rows
    brightness = np.where(distance < 9, 30.0, sky) + halo * ((distance >= 10) & (distance < 12))
    image = np.clip(brightness[..., None] + rng.normal(0, 3, (64, 64, 3)), 0, 255)
    return image.astype(np.uint8), distance < 9


def draw_set(seed: int, halo: int) -> dict[str, list[RingFeatures]]:
    rng = np.random.default_rng(seed)
    found = {}
    for group in range(NUM_GROUPS):
        features = [describe_rings(*draw(rng, halo)) for _ in range(2)]
        found[f"group-{group:02d}"] = [one for one in features if one is not None]
    return found


def test_a_halo_is_told_from_clean_surroundings() -> None:
    found = tell_apart(draw_set(1, halo=12), draw_set(2, halo=0))
    assert found is not None and found.low > 0.9 and found.count == NUM_GROUPS


def test_surroundings_of_one_kind_are_told_apart_by_chance_alone() -> None:
    held = [tell_apart(draw_set(seed, halo=0), draw_set(seed + 100, halo=0)) for seed in range(8)]
    means = [one.mean for one in held if one is not None]
    assert np.mean(means) == pytest.approx(0.5, abs=0.05)


def test_the_images_of_a_group_never_lie_on_both_sides_of_a_fold() -> None:
    # Each group has features of its own, the same in both sets: who had seen one image of a group
    # with its label would be wrong about the other, and below chance.
    rng = np.random.default_rng(0)
    own = {f"group-{i:02d}": [tuple(rng.normal(size=8))] for i in range(NUM_GROUPS)}
    found = tell_apart(own, own)
    assert found is not None and found.mean == pytest.approx(0.5)


def test_an_image_without_entity_or_without_room_around_it_has_no_rings() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    assert describe_rings(image, np.zeros((64, 64), bool)) is None
    assert describe_rings(image, np.ones((64, 64), bool)) is None


def test_fewer_groups_than_folds_are_not_judged() -> None:
    few = dict(list(draw_set(1, halo=9).items())[:9])
    assert tell_apart(few, few) is None


def test_nothing_changes_where_brightness_does_not() -> None:
    mask = np.zeros((64, 64), bool)
    mask[28:36, 28:36] = True
    found = describe_rings(np.full((64, 64, 3), 100, np.uint8), mask)
    assert found is not None and len(found) == 24 and set(found) == {0.0}
