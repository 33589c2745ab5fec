"""A way of making images that is sure of what it shows: the miniature's renderer."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from coupled_core.records import GroupSplit, PromptGroup, Rejection, RejectReason, Sample
from coupled_core.research.drawn_world.render import draw_scene
from coupled_core.research.drawn_world.scenes import NUM_LAYOUT, Scene
from coupled_core.research.methods.method import Knob, Knobs, MethodOutput

EMPTY = Scene("meadow", "noon", (0.0,) * NUM_LAYOUT, texture_seed=3)
ENTITIES = (("red", "car"), ("blue", "umbrella"), ("white", "robot"))


def build_sample(group_id: str, num_prompts: int = 2) -> Sample:
    """Return a sample of entities in one meadow."""
    things = [f"A {colour} {entity}" for colour, entity in ENTITIES[:num_prompts]]
    prompts = tuple(f"{thing} in a green meadow at noon." for thing in things)
    group = PromptGroup(group_id, prompts, "a test", 0)
    split = GroupSplit("A green meadow at noon.", tuple(things), {}, "entity_swap", "given", "-")
    return Sample(group, 0, split)


def draw_honestly(index: int) -> np.ndarray:
    """Draw the entity of a prompt; a little of the layout changes with it."""
    colour, entity = ENTITIES[index]
    layout = (0.1 * index, *EMPTY.layout[1:])
    there = replace(EMPTY, layout=layout, entity=entity, colour=colour, centre_x=0.4, centre_y=0.7)
    return draw_scene(there)[0]


def draw_nothing(index: int) -> np.ndarray:
    """Draw the meadow without an entity: backgrounds agree perfectly."""
    image = draw_scene(EMPTY)[0]
    image[0, index] ^= 1  # not byte for byte the same
    return image


class Drawing:
    """A method that draws; `fails` names the groups that it cannot draw."""

    name = "drawing"
    knobs: tuple[Knob, ...] = ()
    main_knob = None

    def __init__(self, draw: Callable[[int], np.ndarray], fails: Sequence[str] = ()) -> None:
        self._draw, self._fails = draw, fails

    def generate(
        self,
        samples: Sequence[Sample],
        knobs: Knobs,
        on_step: Callable[[int, int], None] | None = None,
    ) -> list[MethodOutput | Rejection]:
        """Draw a batch; an image takes one second and ten evaluations."""
        return [self._make(sample) for sample in samples]

    def _make(self, sample: Sample) -> MethodOutput | Rejection:
        if sample.group.group_id in self._fails:
            return Rejection(RejectReason.GENERATION_FAILED, "out of ink")
        count = len(sample.group.prompts)
        images = tuple(self._draw(index) for index in range(count))
        return MethodOutput(images, seconds=float(count), model_evaluations=10.0 * count)
